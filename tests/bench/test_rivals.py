"""The rivals really do the work, where they are installed; and who is missing is named, not forgotten."""

import os
import xml.etree.ElementTree as Xml
from pathlib import Path

import pytest

from bench import teams
from bench.content import await_that, judge
from bench.measure import MEERKAT, RSYNC, RSYNC_FLUSHED, SYNCTHING, UNISON, Options
from bench.syncthing import Syncthing
from bench.unison import Unison

SIZE = 200_000


def needs(who: str) -> None:
    program = teams.PROGRAM_OF[who]
    if not teams.PROGRAMS[program].is_installed():
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing(f"{program} is not installed (apt-get install {program})")


@pytest.mark.e2e
@pytest.mark.parametrize("who", [SYNCTHING, UNISON, RSYNC, RSYNC_FLUSHED])
def test_a_rival_carries_a_file_and_its_cost_is_told(who: str) -> None:
    """What is made in the first folder comes into the second, and its bytes are on the interface."""
    needs(who)
    with teams.team(who) as team:
        gauge = team.gauge()
        (team.folders[0] / "new.bin").write_bytes(bytes(range(250)) * (SIZE // 250))
        team.carry()
        await_that((team.folders[1] / "new.bin").exists, 0.01, 60)
        cost = gauge.read()
        assert cost.cpu_s
        assert all(peak > 0 for peak in cost.peak_bytes.values())
        if team.network.words:
            assert cost.wire_bytes is not None
            assert cost.wire_bytes > 1000  # Unison and Syncthing may find that the file repeats itself
        judge(team.folders)
        pids = list(team.pids.values())
    await_that(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), 0.01, 30)  # nobody lives on


@pytest.mark.e2e
def test_syncthing_is_told_to_ask_nobody_outside() -> None:
    """Discovery, relays, NAT, reports and upgrades are off in the configuration with which it runs, and conflicts are
    kept as by default."""
    needs(SYNCTHING)
    with teams.team(SYNCTHING) as team:
        assert isinstance(team, Syncthing)
        root = Xml.parse(team.base / "home-ada" / "config.xml").getroot()
    options = {option.tag: option.text for option in root.find("options") or ()}
    for name in (
        "globalAnnounceEnabled",
        "localAnnounceEnabled",
        "relaysEnabled",
        "natEnabled",
        "crashReportingEnabled",
    ):
        assert options[name] == "false"
    assert (options["urAccepted"], options["autoUpgradeIntervalH"]) == ("-1", "0")
    folder = root.find("folder")
    assert folder is not None
    assert folder.attrib["fsWatcherDelayS"] == "1"
    assert folder.findtext("maxConflicts") == "10"


@pytest.mark.e2e
def test_unison_watches_both_folders() -> None:
    """An edit on the other side comes back: the file monitor is heard on both."""
    needs(UNISON)
    with teams.team(UNISON) as team:
        assert isinstance(team, Unison)
        (team.folders[1] / "there.txt").write_text("x")
        await_that((team.folders[0] / "there.txt").exists, 0.01, 60)
        assert {"server's monitor", "client's monitor"} < set(team.pids)


def test_who_is_missing_or_left_out_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run without a rival says why, and Meerkat always takes part."""
    monkeypatch.setattr(teams, "_told", set())
    monkeypatch.setenv("PATH", "/nowhere")
    assert not teams.takes_part(SYNCTHING, Options())
    assert not teams.takes_part(SYNCTHING, Options())
    assert not teams.takes_part(RSYNC, Options(rivals=frozenset()))
    assert teams.takes_part(MEERKAT, Options(rivals=frozenset()))
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "syncthing is skipped: it is not installed (apt-get install syncthing)",
        "rsync is left out, as asked",
    ]
    assert "unison is not installed" in teams.versions()
