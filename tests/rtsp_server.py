"""A small RTSP server: H.264 over RTP within the TCP connection, as most cameras serve it (RFC 2326, RFC 6184).

    python -m tests.rtsp_server PORT VIDEO [--user NAME:PASSWORD]

It plays the same two seconds again and again, to any number of clients. The client is FFmpeg's, so what is said here
must be right. VIDEO is a file that `write_video` makes: the server starts in no time, and needs no encoder.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

MOST_NAL_BYTES = 1_400
CLOCK_HZ = 90_000
FPS = 15
WIDTH, HEIGHT = 320, 240


def write_video(path: Path) -> Path:
    """Write two seconds of a bar that moves, a key frame each half second: the NAL units of each frame."""
    import av
    import numpy as np

    coder = av.CodecContext.create("libx264", "w")
    assert isinstance(coder, av.VideoCodecContext)
    coder.width, coder.height, coder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    coder.time_base, coder.framerate = Fraction(1, FPS), Fraction(FPS)
    coder.options = {"preset": "ultrafast", "tune": "zerolatency", "g": str(FPS // 2)}
    frames = []
    for number in range(2 * FPS):
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        image[:, :, 0] = np.linspace(0, 255, WIDTH, dtype=np.uint8)
        image[:, number * 7 % WIDTH :][:, :20, 1] = 255
        packets = coder.encode(av.VideoFrame.from_ndarray(image, format="rgb24"))
        frames += [[base64.b64encode(nal).decode() for nal in nal_units(bytes(p))] for p in packets]
    path.write_text(json.dumps(frames))
    return path


def nal_units(stream: bytes) -> list[bytes]:
    """Split a byte stream (annex B) into its NAL units."""
    return [part.rstrip(b"\0") for part in stream.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if part]


def rtp_packets(nals: list[bytes], sequence: int, timestamp: int) -> Iterator[bytes]:
    """Yield one frame's RTP packets: a NAL unit each, or fragments (FU-A) of one that is long."""
    parts: list[bytes] = []
    for nal in nals:
        if len(nal) <= MOST_NAL_BYTES:
            parts.append(nal)
            continue
        indicator, kind, rest = (nal[0] & 0xE0) | 28, nal[0] & 0x1F, nal[1:]
        for at in range(0, len(rest), MOST_NAL_BYTES):
            last = at + MOST_NAL_BYTES >= len(rest)
            header = kind | (0x80 if at == 0 else 0) | (0x40 if last else 0)
            parts.append(bytes((indicator, header)) + rest[at : at + MOST_NAL_BYTES])
    for number, body in enumerate(parts):
        marker = 0x80 if number == len(parts) - 1 else 0
        yield struct.pack("!BBHII", 0x80, 96 | marker, (sequence + number) & 0xFFFF, timestamp, 0x1234) + body


class RtspServer:
    """Serves one stream to whoever asks."""

    def __init__(self, frames: list[list[bytes]], user: str | None = None) -> None:
        self._frames = frames
        self._basic = f"Basic {base64.b64encode(user.encode()).decode()}" if user else None

    def sdp(self) -> str:
        first = self._frames[0]
        sets = ",".join(base64.b64encode(nal).decode() for nal in first if nal[0] & 0x1F in (7, 8))
        return (
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
            f"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/{CLOCK_HZ}\r\n"
            f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}\r\na=control:track1\r\n"
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        playing: asyncio.Task[None] | None = None
        try:
            while True:
                request = (await reader.readuntil(b"\r\n\r\n")).decode(errors="replace")
                request = request[request.index(next(c for c in request if c.isalpha())) :]
                method, url = request.split()[:2]
                headers = dict(line.split(": ", 1) for line in request.splitlines()[1:] if ": " in line)
                sequence = headers.get("CSeq", "0")
                if self._basic and headers.get("Authorization") != self._basic and method != "OPTIONS":
                    self._answer(
                        writer, sequence, '401 Unauthorized\r\nWWW-Authenticate: Basic realm="camera"'
                    )
                elif method == "OPTIONS":
                    self._answer(
                        writer, sequence, "200 OK\r\nPublic: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"
                    )
                elif method == "DESCRIBE":
                    about = f"200 OK\r\nContent-Base: {url}/\r\nContent-Type: application/sdp"
                    self._answer(writer, sequence, about, self.sdp())
                elif method == "SETUP":
                    way = "RTP/AVP/TCP;unicast;interleaved=0-1"
                    self._answer(writer, sequence, f"200 OK\r\nSession: 1;timeout=60\r\nTransport: {way}")
                elif method == "PLAY":
                    self._answer(writer, sequence, "200 OK\r\nSession: 1\r\nRange: npt=0.000-")
                    playing = asyncio.create_task(self._play(writer))
                else:
                    self._answer(writer, sequence, "200 OK\r\nSession: 1")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            if playing is not None:
                playing.cancel()
            writer.close()

    @staticmethod
    def _answer(writer: asyncio.StreamWriter, sequence: str, head: str, body: str = "") -> None:
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        status, _, rest = head.partition("\r\n")
        rest = f"{rest}\r\n" if rest else ""
        writer.write(f"RTSP/1.0 {status}\r\nCSeq: {sequence}\r\n{rest}{length}\r\n{body}".encode())

    async def _play(self, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        began, number, sequence = loop.time(), 0, 0
        try:
            while True:
                timestamp = number * CLOCK_HZ // FPS & 0xFFFFFFFF
                for packet in rtp_packets(self._frames[number % len(self._frames)], sequence, timestamp):
                    writer.write(struct.pack("!cBH", b"$", 0, len(packet)) + packet)
                    sequence += 1
                await writer.drain()
                number += 1
                await asyncio.sleep(max(began + number / FPS - loop.time(), 0.0))
        except ConnectionError:
            pass


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("video", type=Path)
    parser.add_argument("--user")
    chosen = parser.parse_args()
    frames = [[base64.b64decode(nal) for nal in frame] for frame in json.loads(chosen.video.read_text())]
    server = RtspServer(frames, chosen.user)
    async with await asyncio.start_server(server.serve, "127.0.0.1", chosen.port) as listening:
        print("listening", flush=True)
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
