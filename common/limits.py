"""Every limit in one place, with its unit and its reason. Security limits are marked as such."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB

# --- the wire -------------------------------------------------------------------------------------------
MAX_HEADER_BYTES = 16 * KIB
"""Security: a msgpack header expands up to 70-fold in memory, so it stays small; tensors travel outside it."""
MAX_PAYLOAD_BYTES = 64 * MIB
"""Security: allocated in one piece once the prefix is read. The largest crossing tensor of the classifiers
(VGG16 after its first convolution) has 12.3 MiB."""
MAX_PROFILE_BYTES = 4 * MIB
"""Security: a profile is JSON, which takes twenty times its length and more once it is read. The largest model's, of
4,096 units with every codec, has half of this."""
MAX_PING_BYTES = MIB
"""Security: a ping that measures has 64 KiB."""
MAX_GREETING_BYTES = 4 * KIB
"""Security: before the handshake is done no message may be longer, header and payload together."""
MAX_TENSORS = 256
"""Security: tensors in one message. The widest cut of the classifiers crosses 10."""
MAX_RANK = 8
"""Security: dimensions of a tensor."""
MAX_NAME_CHARS = 200
"""Security: length of a unit's or a peer's name."""
MAX_REASON_CHARS = 600
"""Error texts on the wire are cut to this length."""
MAX_UNITS = 4_096
"""Security: units a plan on the wire may name."""
TENSOR_ALIGNMENT = 64
"""Bytes: each tensor in a payload starts at a multiple of this, so it can be used where it lies."""

# --- liveness -------------------------------------------------------------------------------------------
HANDSHAKE_TIMEOUT_S = 5.0
"""From connecting to Welcome. A peer that says nothing occupies a socket no longer."""
PING_INTERVAL_S = 1.0
"""A ping costs 60 bytes, and finding a dead link early is what keeps frames going."""
LONGEST_MESSAGE_S = 600.0
"""A message that takes longer to come in is of no use any more, and its memory is freed. 64 MiB at 1 Mbit/s take nine
minutes."""
DEAD_AFTER_S = 5.0
"""Silence after which a connection is given up: five pings unanswered."""
MAX_GREETING_CONNECTIONS = 16
"""Security: sockets that have not shaken hands yet, TLS included. With one more, the one that has waited longest of
those from the address that holds most is closed."""
TLS_SHUTDOWN_S = 2.0
"""A peer has this long to agree to the end of a TLS connection; then it is cut."""
CONNECT_TIMEOUT_S = 3.0
"""For TCP to connect: two SYN retransmissions."""
RECONNECT_FIRST_S = 1.0
RECONNECT_FACTOR = 1.6
RECONNECT_MAX_S = 5.0
"""Back-off between attempts to connect: uniform(0, first), then first ± 20%, growing by the factor up to the maximum.
So an outage below 2 s is over for the edge within 2 s, and any other within 5 s, and what connecting takes."""
RECONNECT_HEALTHY_S = 1.0
"""A connection that lived this long starts the back-off anew: a link that is cut every few seconds is still used."""
TCP_USER_TIMEOUT_S = 10.0
"""In the kernel: what is sent and not confirmed, or cannot be sent to a peer that does not read, breaks a connection
after this time; it would try for a quarter of an hour. Longer than DEAD_AFTER_S, which judges while the protocol is
spoken: this one ends what nobody looks at any more (a farewell on a dead link)."""

# --- frames ---------------------------------------------------------------------------------------------
MAX_IN_FLIGHT = 4
"""Frames an edge may have at the cloud (the credit window): enough to overlap head, link and tail."""
MAX_CLOUD_QUEUE = 64
"""Frames a cloud holds in all before it says Busy."""
MAX_REQUESTS = 6
"""Security: requests an edge may have made at a time. An honest one has five at most: a plan to use now, one to stand
by, a segment to measure, the profile, a turn on the iperf3 server."""
MAX_UNSENT_BYTES = 4 * MIB
"""Security: answers are small; an edge that leaves so much unread has stopped reading."""
MAX_PREPARED_EPOCHS = 4
"""Plans a session keeps ready: the present one, the one that stands by, and those of frames still in flight."""
MAX_FRAME_BYTES = 48 * MIB
"""An image file larger than this is refused with a record; it must fit into one payload."""
MAX_FRAME_PIXELS = 64_000_000
"""Security: pixels an image may have, decoded and on the way to its final size (a strip scaled up)."""
MAX_JPEG_SCANS = 200
"""Security: passes a JPEG may make over its image; encoders make a dozen. One pass more may cost 31 bytes to send and
milliseconds to decode."""

# --- planning -------------------------------------------------------------------------------------------
MAX_CLOSED_SETS = 50_000
"""Closed sets enumerated at most; beyond, the planner needs a solver that does not enumerate."""
SWITCH_GAIN = 0.05
"""A new plan must be better by this share, or the present one infeasible. Less would be chasing noise."""
INDEPENDENCE = 0.03
"""What a cut must better the edge alone by, to be worth a link and a cloud that have to go on working."""
RATE_MARGIN = 0.10
"""A plan that keeps the rate is left only for one that keeps it with this share to spare."""

# --- bandwidth ------------------------------------------------------------------------------------------
PROBE_TIMEOUT_S = 8.0
"""Hard limit on a probe process: the binding is known to hang."""
PROBE_DURATION_S = 1
"""Length of an iperf3 test: the shortest the binding can do."""
MIN_GOODPUT_BYTES = 12 * KIB
"""Bytes that must follow a message's first read before its arrival tells a bandwidth."""
CHANNEL_PROBE_BYTES = 64 * KIB
"""Payload of a ping that measures the bandwidth where iperf3 cannot."""

# --- cameras --------------------------------------------------------------------------------------------
CAPTURE_STALL_S = 10.0
"""A camera's process that has had no frame for so long, opening included, is ended and started anew."""
CAPTURE_RETRY_FIRST_S = 0.5
CAPTURE_RETRY_FACTOR = 1.6
CAPTURE_RETRY_MAX_S = 1.5
"""Between attempts: a camera that is back should give frames within 5 s, and looking whether it is costs little."""
CAPTURE_HEALTHY_S = 10.0
"""Frames that came for so long start the back-off anew."""
CAPTURE_CONNECT_S = 2.0
"""For TCP to connect to a camera: a SYN and its first retransmission."""
CAPTURE_ENDING_S = 2.0
"""A killed process that has not ended by then is held by a driver, which the log says."""
MAX_CAPTURE_HEAD_BYTES = 4 * KIB
"""What a camera's process says of a frame."""
MAX_FRAME_AGE_S = 2.0
"""A camera's frame older than this is dropped before any work."""
CAPTURE_GIVE_UP = 3
"""Times that a video's process may end without one more frame, before the rest of the file is given up."""

# --- sampling -------------------------------------------------------------------------------------------
ADAPT_MARGIN = 0.05
"""An overloaded edge takes so much less than it is predicted to sustain: what waits must get less, not stay."""
ADAPT_LEAST = 0.05
"""Share by which the rate has to change to be changed at all."""
ADAPT_UP_AFTER_S = 10.0
"""More must have been possible for so long before more is taken: two looks at link and load at least."""
