"""Every bound in the house, with its unit and its reason. Nothing that a peer can grow is without one."""

KIB = 1024
MIB = 1024 * KIB

# --- names and versions
NAME_BYTES_MAX = 255  # what Linux file systems hold in one component
PATH_BYTES_MAX = 4096  # PATH_MAX
PATH_DEPTH_MAX = 256  # deeper trees exist only as attacks; each level costs an open()
TARGET_BYTES_MAX = 4095  # a symlink's target, as the kernel bounds it
FILE_BYTES_MAX = 1 << 44  # 16 TiB: what ext4 holds in one file
SIBLINGS_MAX = 256  # concurrent versions of one path that are kept; ten nodes at once make ten
SIBLINGS_TOLD_MAX = 512  # that are taken in at once: what is kept, and as many written beside it before the next merge
HEIGHT_MAX = (1 << 62) - 1  # an edit of what has this height has it too: what we write must be valid to others
TIME_NS_MAX = (1 << 62) - 1  # the year 2116, and 1823 the other way: what is dated beyond is shown as this
HIST_MARKS_MAX = 64  # marks per version; a truncated history costs a spurious copy at worst
NODE_NAME_CHARS_MAX = 64
TREE_KEYS_CACHED_MAX = 4096  # each path of a batch is asked for its key a dozen times on its way

# --- chunks and recipes
SINGLE_CHUNK_BYTES_MAX = 256 * KIB  # files up to here are one chunk: a recipe would cost more than it saves
CHUNK_BYTES_MAX = 1 * MIB  # a chunk fits one data message
CHUNK_MEAN_BYTES_MIN = 16 * KIB  # finer chunks cost more in recipes and questions than they save
RECIPE_CHUNKS_AIM = 1024  # a recipe of 36 KiB; larger files get larger chunks, as far as a message allows
CHUNK_MEAN_KEPT_FACTOR = 4  # a file that grows or shrinks keeps its mean within this, or all of its chunks would be new
RECIPE_CHUNKS_MAX = 1 << 21  # 512 GiB at the largest chunk size's mean
RECIPE_CHUNK_BYTES_AVERAGE_MIN = 2 * KIB  # half of what the cutter's least chunk has: a recipe of crumbs is an attack

# --- the wire
CONTROL_MESSAGE_BYTES_MAX = 256 * KIB
DATA_MESSAGE_BYTES_MAX = 1 * MIB + 64 * KIB  # a chunk and its frame
MESSAGE_BYTES_MAX = 4 * MIB  # gRPC's default, so that any gRPC client can speak to us
ENTRIES_PER_PART_MAX = 1000
ENTRIES_PART_BYTES_MAX = 192 * KIB
VERSIONS_PER_PART_MAX = 4096  # a part holds 192 KiB and one entry more, which is fewer; each takes a kilobyte in memory
VECTOR_AUTHORS_MAX = 32_768  # two vectors of this size fit into one message
ADDRESSES_MAX = 8  # per node
ADDRESS_CHARS_MAX = 262
ROSTER_OPS_MAX = 32_768
ROSTER_OP_BYTES_MAX = 4 * KIB
MEMBERS_MAX = 4096
PIPE_OUT_FRAMES_MAX = 256  # frames waiting to be written on one stream; then senders wait
ASKS_IN_SERVICE_MAX = 8  # index or chunk questions answered at once for one peer
SEQ_JUMP_MAX = 1 << 40  # a head beyond this is a lie

# --- transfer
PIECES_PER_ASK_MAX = 256
ASK_BYTES_MAX = 1 * MIB  # content asked for in one question, so that answers interleave
PEER_INFLIGHT_BYTES_MAX = 16 * MIB
NODE_INFLIGHT_BYTES_MAX = 64 * MIB
BULK_FILES_MAX = 4  # large files assembled at once
SMALL_FILES_MAX = 1024  # small files in flight and staged, flushed together
SMALL_GROUPS_MAX = 3  # groups of small files under way: one fetched, one flushed, one recorded
FRESH_PATHS_MAX = 1000  # just merged paths that are dealt with before older ones
FRESH_JOBS_MAX = 8192  # just merged paths whose steps are kept from the merge; about 8 MB
STEP_IN_S = 5.0  # a loser that no holder has dealt with for this long is anybody's
COPY_NAMES_TRIED_MAX = 4  # names for one conflict copy, when others have taken them
COMMIT_BATCH_MAX = 512  # files made durable by one flush
BULK_WINDOW_RUNS = 24  # questions' worth of one file (1 MiB each) wanted at once: to several members, and being written
SMALL_GROUP_BYTES_MAX = 16 * MIB  # content held in memory for one group of small files
CHUNK_TIMEOUT_S = 30.0  # an unanswered ask moves to another source after this
CHUNK_PATIENCE_S_MAX = 480.0  # doubled for a source that timed out, or a lone slow one would be asked for ever in vain
ASKS_PIPELINED_MIN = 2  # so that a source need not wait for us between two asks
ASKS_PIPELINED_MAX = 16  # per source: twice what it serves at once
URGENT_RESERVE_BYTES = 2 * MIB  # room that bulk leaves to small files, per source and in all
ANSWER_FAST_S = 2.0  # an ask answered within this lets more be asked at once, up to the bounds in bytes
ANSWER_SLOW_S = 8.0  # an ask that took longer halves that
DRY_MIN_S = 0.25  # a source that lacked all of an ask is left alone for so long, doubling
DRY_MAX_S = 8.0
SPOILED_KEPT_MAX = 4096  # (source, piece) pairs that are not asked again; forgetting one costs a retry
SPOILED_REST_S = 60.0  # a source that sent wrong bytes comes last for so long

# --- what many fetch at once
POOR_OBJECTS_MAX = 4096  # objects remembered as incomplete at one source; forgetting costs a question
SWARM_GIVEN_MAX = 16_384  # pieces remembered as given: 4 GiB of a large file, 3 MB
SWARM_MEMORY_S = 60.0  # so long somebody who was given a piece is likely to be there and to have it at hand
POINTED_MAX = 16  # for one piece; who has it points each member elsewhere once, and then gives it
COMING_MAX = 256  # pieces that others wait for until they come here; more are told to be lacking
COMING_WAIT_S = 5.0  # then whoever waits asks somebody else
RECENT_BYTES_MAX = 8 * MIB  # pieces kept in memory after they came, until they lie on the disk for sure

# --- differences inside one piece
DELTA_PART_BYTES_MEAN = 1 * KIB  # a changed byte costs about a part, a part that is known eight bytes of a sketch
DELTA_MARK_BYTES = 8  # salted: two of a million parts pass for each other once in 10 million times, and cost a retry
DELTA_SALT_BYTES = 8
DELTA_MARKS_MAX = 2048  # of one piece; the largest has about 900 parts
DELTA_MARKS_PER_ASK_MAX = 8192  # 64 KiB of a question
DELTA_STEPS_MAX = 4096  # of one difference: a piece of the smallest parts, every one a step
DELTA_GAIN_BYTES_MIN = 1 * KIB  # what saves less is told as it is
DELTA_FILE_BYTES_MIN = 8 * KIB  # smaller pieces cost no more than the trouble
DELTA_RECIPE_SLACK_BYTES = 64 * KIB  # a part of a long recipe is looked for so far before its old place as well
DELTA_BASES_BYTES_MAX = 16 * MIB  # old bytes held in memory while what resembles them is asked for
DELTA_TRIES_IN_VAIN_MAX = 8  # pieces of one file that resembled nothing; the rest is asked for as it is

# --- scanning and planning
SCAN_BATCH_PATHS_MAX = 1000  # paths recorded in one transaction
SCAN_BATCH_BYTES_MAX = 64 * MIB  # or so many bytes hashed: what is done is told while the rest is hashed
REMOVALS_IN_A_PASS_MAX = 65_536  # paths kept in memory until the way back
PLAN_BATCH_MAX = 1000
MOVED_PATHS_MAX = 131_072  # in a folder that is moved as a whole; their names are kept in memory meanwhile
MOVE_WAIT_S = 1.0  # for somebody who is at work in a folder that is to be moved; then it is dealt with file by file
SETTLE_PATHS_MAX = 100_000  # beyond this many unsettled paths a full scan is cheaper
HASH_THREADS_MAX = 4
IGNORE_LINES_MAX = 10_000  # rules are tried one after the other for each path
IGNORE_LINE_CHARS_MAX = 1024
IGNORE_FOLDERS_KEPT_MAX = 65_536  # folders whose verdict is remembered
BASES_RECENT_MAX = 16_384  # just recorded: the watch tells of each of them once more; about 8 MB
BASES_RECENT_S = 10.0  # by then it has
QUIET_CLOSED_S = 0.003  # after a writer closed the file: it is whole, only a flag or a rename may come at once
QUIET_OPEN_S = 0.5  # while somebody may still be writing
QUIET_MAX_S = 60.0  # hot files that are held open: the wait doubles up to this
QUIET_SAVED_MAX_S = 10.0  # hot files that their writer closes: whole each time, and somebody may wait for them
HOT_AGAIN_S = 5.0  # a file closed again within this is written by a program in a loop, not saved by a person
RETRY_MIN_S = 1.0  # a path that could not be applied is tried again, backing off
RETRY_MAX_S = 300.0
RESCAN_INTERVAL_S = 3600.0
RACY_WINDOW_NS = 50_000_000  # coarse kernel clocks tick every 4-10 ms; five times that

# --- membership
INVITE_SECRET_BYTES = 16
INVITE_LIFE_S_DEFAULT = 3600
INVITE_LIFE_S_MAX = 366 * 86400
INVITE_USES_MAX = 4096
INVITE_ADDRESSES_MAX = 4
JOIN_TIMEOUT_S = 30.0
DIAL_TIMEOUT_S = 10.0
REDIAL_MIN_S = 0.5
REDIAL_MAX_S = 15.0
PING_EVERY_S = 2.0  # one linked node is asked this often, the one not heard of for longest: 350 B a question
PING_QUIET_S = 5.0  # of whom something was heard within this it is not asked
PING_COURTESY_S = 0.5  # the higher id of a link waits so much longer before it asks
ANSWER_DOUBTED_S = 1.0  # at 10 % loss each way one answer of a thousand takes longer, at 30 % every eighth
ANSWER_TIMEOUT_S = 6.5  # five tries of TCP on a local net, four over a round trip of 200 ms; then the link is closed
LATE_SELF_S = 1.0  # this node's own turn came so late: it was asleep, and judges nobody by that
NEIGHBOURS_TOLD_MAX = 256  # links that a node tells of: more than any overlay gives it, 5 kB
NEIGHBOURS_OF_STRANGERS_MAX = 64  # whose admission has not come yet
NEIGHBOURS_SWARM_S = 0.02  # what many nodes say of their links at one time is looked at together
NEIGHBOURS_GATHER_S = 0.05  # links that come and go together are told together
NEIGHBOURS_OUTBID_S = 1.0  # a node and its copy do not outbid each other faster
RUN_MAX = (1 << 63) - 1  # what starts are counted up to: beyond it nobody could outbid a lie
RUNS_REMEMBERED_MAX = 16  # starts of one member, to notice when one comes back that another had followed
CLONED_HEAR_S = 10.0  # a copy that was told to take another name may hand over its admission within this
CLONED_REST_S = 30.0  # between two offers of a copy that was not admitted under another name
RECORD_RETELL_S = 3.0  # before a node corrects its own record: a copy that has not yielded yet says the contrary
RENAMED_REST_S = 6 * 3600  # a node takes another name at most this often, whoever says that it is a copy
FULL_MESH_NODES_MAX = 16  # everybody links with everybody up to here
OVERLAY_DEGREE = 10

# --- keeping
TRASH_AGE_S_MAX = 30 * 86400
TRASH_DISK_SHARE_MAX = 0.10
TRASH_CLOCK_STEP_S = 86400.0  # so far the clock by which the trash ages goes in one upkeep
TRASH_GROWN_SHARE = 0.1  # of its room: what came in since the last pruning, before it is pruned out of turn
TRASH_TURN_S = 60.0  # between two looks at that
LATE_QUIET_S = 1.0  # after the first late write to a file in the trash: time for a burst to end
LATE_LOOK_S = 4.0  # a file that came into the trash is looked at after this, then after twice as long, and so on
LATE_AGAIN_S_MAX = 3600.0  # up to here; then with everything in the trash, as often as the tree is scanned
LATE_RECENT_MAX = 10_000  # files looked at on their own; beyond that everything is
LATE_DAYS_ATTENDED_MAX = 64  # folders of the trash that are watched: twice the days that it is kept
EVENTS_KEPT_MAX = 4096
EVENT_QUEUE_MAX = 1024
LOG_BYTES_MAX = 8 * MIB
PROBLEMS_SHOWN_MAX = 1000

# --- identities, the roster and the streams beneath the links
CERTIFICATE_BYTES_MAX = 1024  # ours have about 400; a bigger one was not made by us
TEXT_CHARS_MAX = 1024  # a reason or explanation for people
WORD_CHARS_MAX = 64  # a code, feature or version word
FEATURES_MAX = 64
SUMMARY_REASONS_MAX = 16  # why paths wait at a node: the first few tell the story
ROSTER_PENDING_MAX = 4096  # operations whose prerequisites have not come; more is an attack
ROSTER_PART_BYTES_MAX = 192 * KIB  # leaves room for framing below the control message's limit
PIPE_OUT_BYTES_MAX = 4 * MIB  # serialised frames waiting on one stream; a few of the largest
PIPE_IN_FRAMES_MAX = 4  # frames read ahead of their consumer; beyond that HTTP/2 flow control holds the sender
PIPE_DRAIN_S = 1.0  # a farewell may take so long to leave before the stream is cut
STREAMS_GATHER_S = 10.0  # the three streams of a link must arrive within this
STREAMS_GATHERING_MAX = 256  # half-arrived links, all peers together
RPCS_MAX = 1024  # streams served at once: three a link
LINKS_PER_NODE_MAX = 8  # of one member at once, half-arrived ones too: two dials that cross, and restarts
PIPE_STALL_S = 120.0  # one message may take so long to leave; who does not read for longer is not there
LINK_BYTES_PER_S = 4 * MIB  # read from one link's small stream in the long run; the largest roster passes in seconds
LINK_BYTES_BURST = 16 * MIB  # and at once
LINK_FRAME_COST_BYTES = 1 * KIB  # what the smallest frame counts for: taking it apart costs about as much
FAULT_REST_MIN_S = 1.0  # a member that broke a rule is not talked with for so long, doubling
FAULT_REST_MAX_S = 600.0
FAULT_FORGIVEN_S = 3600.0  # after so long without a fault the next one counts as the first
OUTRUNS_MAX = 1  # a rolled-back node is told so once by each member; more often it is a lie, and each costs an epoch
SPOILS_MAX = 8  # wrong pieces from one member before it is cut: honest ones check what they serve
METADATA_BYTES_MAX = 8 * KIB
HANDSHAKE_TIMEOUT_S = 10.0
ZSTD_SAMPLE_BYTES = 64 * KIB  # enough to tell text from media
ZSTD_RATIO_MAX = 0.9  # saves less than a tenth: not worth the receiver's time
CONTROL_CALLS_MAX = 64  # doors asking one node at once

# --- the disk's hands
STAGE_NAME_CHARS_MAX = 200  # leaves room for the suffix of a thing held aside
STAGE_FSYNC_FILES_MAX = 8  # up to here one fsync per file, beyond it one syncfs for all
COPY_STEP_BYTES = 4 * MIB  # copied between two looks for holes
DISK_READ_BYTES = 1 * MIB  # one read() while hashing: the system call no longer shows in a profile
LISTINGS_KEPT_MAX = 64  # folders whose names are remembered on a disk that folds names; people work in a few
RACY_WINDOW_COARSE_NS = 2_000_000_000  # file systems that keep whole seconds (FAT: two)
PUT_BACK_TRIES_MAX = 8  # a person would have to win this many races in a row
NAMES_SHOWN_MAX = 8  # of what keeps a folder from being removed
TRASH_NAME_CHARS_MAX = 64  # the readable part of a name in the trash
WATCH_READ_BYTES_MAX = 64 * KIB  # events taken per turn of the loop, so that a storm does not stall it
WATCH_FAILURES_MAX = 3  # beginnings in a row that fail before a watch gives up and scanning takes over
WATCH_BATCH_MAX = 1000  # found paths handed from the watch's thread to the loop at once

# --- the index
INDEX_WRITER_CACHE_BYTES = 16 * MIB  # SQLite's page cache; what does not fit spills into the WAL
INDEX_READER_CACHE_BYTES = 2 * MIB  # per open snapshot; several peers may be served at once
INDEX_READERS_IDLE_MAX = 4  # connections kept for the next snapshot
INDEX_WAL_BYTES_MAX = 64 * MIB  # what a grown WAL shrinks back to once it has been copied home
INDEX_BUSY_TIMEOUT_S = 5.0  # only a foreign process (a backup tool) can hold the file locked
INDEX_PAGE_ROWS = 1024  # rows read at a time while a large answer streams
INDEX_BEYOND_KEYS_MAX = 65_536  # paths of a delta sorted in memory; a larger delta walks the tree instead
TOMBSTONE_AGE_S_MIN = 30 * 86_400.0  # as long as the trash: who lost an index by then has been told
TOMBSTONE_AGE_S_MAX = 180 * 86_400.0  # members away for longer compare everything when they are back
TOMBSTONE_MARK_S = 7 * 86_400.0  # how often it is noted what is known: 27 notes for the longest age
TOMBSTONE_TURN_S = 6 * 3600.0  # how often tombstones are looked through
TOMBSTONES_AT_ONCE = 1000  # paths in one transaction
HOLD_FILES_MIN = 20  # so many deletions are always told; more than half of all beyond that are held
HOLD_EMPTIED_FILES_MIN = 5  # a folder emptied of fewer files is somebody tidying up
HOLD_WINDOW_S = 3.0  # deletions within this time belong together; programs that tidy up as they go are slower
HOLD_FEW_QUIET_S = 0.06  # a lone deletion waits so long: most of a tree that is removed goes in less than this
HOLD_FEW_S_MAX = 0.5  # a few deletions wait at most so long for each other
HOLD_QUIET_S = 0.25  # no further file has gone for so long: judge
HOLD_GATHER_S_MAX = 30.0  # judge at the latest
HOLD_RUN_S = 600.0  # a deletion that goes on is put off for so long, and what was told of it counts so long
HOLD_GATHER_PATHS_MAX = 200_000  # paths that wait in memory
HELD_PAGE_PATHS = 1000  # held paths dealt with in one transaction
MORSEL_BYTES_MAX = 8 * KIB  # content of so small a file may ride with its entry
MORSELS_ANSWER_BYTES_MAX = 16 * MIB  # of one answer: its entries are shown only when all of it has come
MORSELS_KEPT_BYTES_MAX = 32 * MIB  # that came along and are not put down yet: two answers
MORSELS_GIVEN_BYTES_MAX = 16 * MIB  # that were read just now and will be asked for: an answer
MORSELS_KEPT_S = 60.0  # what is not asked for by then has been overtaken
MORSELS_FRESH_MAX = 20_000  # contents remembered as new here
LOOK_AHEAD_PATHS = 1024  # read up together before they are dealt with one by one
INDEX_UNWRITTEN_ROWS_MAX = 8192  # rows that wait in memory within one transaction: a few MB
INDEX_AHEAD_PATHS_MAX = 8192  # paths whose rows one transaction keeps at hand
INDEX_WARM_PATHS_MAX = 4096  # paths whose rows the next transaction need not read: merged, intended, recorded; 5 MB
INDEX_FOLDERS_CACHED_MAX = 65_536  # folders remembered as marked within one transaction
AUTHORS_REMEMBERED_MAX = 256  # with how they are written in fingerprints; few authors write many versions
INDEX_LOCATED_MAX = 8  # places named for one content or chunk; more would not help
INDEX_CHECK_BYTES_MAX = 256 * MIB  # checked in whole after an unclean stop: about a second
INDEX_COMPLETE_PENDING_MAX = 50_000  # pending paths looked through for `complete` inside a write

# --- pulling and telling
PULLS_MAX = 2  # questions for entries under way at once; news is asked for once, wherever it was announced
PULL_RETRY_S = 0.5  # after an answer that did not help
PULL_SILENCE_S = 30.0  # between two parts of an answer; then the question is given up and others are asked
PULL_TURN_S = 60.0  # an answer that takes longer goes on, but keeps nobody else from asking elsewhere
PULL_REST_S = 30.0  # a member that left a question unanswered is not asked again for so long
ASKS_PER_S = 16.0  # questions for entries of one member, in the long run; each costs a snapshot
ASKS_BURST = 128.0
ANSWER_VERSIONS_MAX = 1 << 25  # in one answer: some ten million files, a few gigabytes aside
RECOVERING_ASK_S = 5.0  # between questions to a member that was without an index itself
PARTS_AT_ONCE = 4  # parts of one answer that are made before the first of them is sent
PARTS_WAITING_MAX = 8  # parts of one answer that wait to be kept aside; beyond that the stream waits
ENTRIES_ASIDE_MIN = 4000  # entries of one answer held in memory; more lie in the index, aside
SUMMARY_INTERVAL_S = 0.05  # own progress on one link at most this often
SUMMARY_QUIET_S = 0.03  # a lone change is told when it has mostly been dealt with, not while it is
HEADS_RELAY_S = 0.05  # others' writes are passed on this much later where everybody hears of them directly
SUMMARY_RELAY_S = 1.0  # others' progress is passed on this much later, for those who do not hear it directly
CONTROL_PART_BYTES_MAX = 128 * KIB  # roster operations in one frame
DIALS_AT_ONCE_MAX = 8
SUMMARY_BEAT_S = 60.0  # said again this often, for those who could not take it in (of a member not heard of yet)
REASONS_TOLD_MAX = 16  # waiting paths named in a summary
WHY_ROWS_MAX = 200  # paths that are not everywhere, in one answer for people; the rest is counted
WHY_LOOKED_MAX = 2000  # entries read for that of each member that is behind
WHY_HISTORY_ROWS = 50  # looked through for when a path's present version was heard of
CONTROL_ANSWER_BYTES_MAX = 64 * MIB  # one local answer: a listing of a large folder, between processes of one user
ADDRESSES_SEEN_MAX = 3  # where a node was last reached, tried before what it says of itself

IGNORE_FILE_BYTES_MAX = 1 * MIB  # more rules than that are a mistake

# --- upkeep
SCRUB_TURN_S = 3600.0  # a part of the folder is read again so often
SCRUB_TURNS = 720  # so many parts make the whole: about a month of running
SCRUB_PART_BYTES_MIN = 64 * MIB  # a part has at least so much, so that small folders are read in few turns
SCRUB_BYTES_S_MAX = 8 * MIB  # read for this at most: a small part of what a slow disk gives
SCRUB_SUSPECT_S = 5.0  # between two looks at suspects: whoever asks for what is not there costs no more than that
SCRUB_SUSPECTS_MAX = 1000  # files remembered as rotten, or as perhaps rotten; a later turn meets the others
DISK_THREADS = 6
SERVE_THREADS = 4
RESCAN_DEGRADED_S = 60.0  # between scans while the watch does not see everything
UPKEEP_INTERVAL_S = 3600.0
CONTENTS_PRUNED_AT_ONCE = 10_000  # recipes and chunk places forgotten in one transaction
INDEX_RETRY_MIN_S = 0.25  # while the disk does not let the index be written (full, I/O error)
INDEX_RETRY_MAX_S = 10.0
CHANGES_KEPT_MAX = 200_000  # rows of history; about 40 MB
ABANDON_ASKS_MAX = 64  # questions to each member about a version that is lacking in part: enough to find a part
INQUIRY_FIRST_ID = 1 << 40  # questions that are no fetching count from here, so that their answers never meet
INQUIRY_TIMEOUT_S = 30.0  # a member that has not said no by then may have it
EDIT_TRIES_MAX = 3  # looks at a path that somebody else is writing to, before a restore gives up
RESOLVE_PATIENCE_S = 12.0  # for copies that are being made or fetched: twice what it takes others to step in
RESOLVE_POLL_S = 0.1
RESTORE_ROWS_SHOWN_MAX = 20  # of what a restored folder still lacks; the rest is counted
DELETED_TOGETHER_MS = 60_000  # two deletions no further apart belong to one: twice what a slow one is gathered for
HISTORY_ROWS_MAX = 1000  # versions of one path that are looked through, or shown at once
DIFF_BYTES_MAX = 1 * MIB  # larger files are not compared line by line
DIFF_LINES_MAX = 40_000
