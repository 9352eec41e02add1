#!/usr/bin/python3
"""A disk that writes down what is written to it, and when it was told to flush.

    write_log.py IMAGE LOG AT      (root; ends when AT is unmounted)

The file AT, which must exist, becomes a FUSE mount of one file with IMAGE's bytes; a
loop device on it is the disk. LOG gets a record for each request in the order in which
they were done: b"W", offset (8), length (4), data; or b"F". The kernel's protocol is
spoken directly, so that a power cut can be tried without any library.
"""
import ctypes
import os
import struct
import sys

IN_HEADER = struct.Struct("<IIQQIIII")
GETATTR, OPEN, READ, WRITE, RELEASE, FSYNC, FLUSH, INIT, DESTROY = 3, 14, 15, 16, 18, 20, 25, 26, 38
FORGET, BATCH_FORGET, INTERRUPT = 2, 42, 36
MAX_WRITE = 1 << 20
BIG_WRITES, MAX_PAGES = 1 << 5, 1 << 22
ENOSYS = 38


class Disk:
    def __init__(self, image, log):
        self.image = os.open(image, os.O_RDWR)
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        self.size = os.fstat(self.image).st_size

    def init(self, _):
        return struct.pack("<4I2H2I2H8I", 7, 31, MAX_WRITE, BIG_WRITES | MAX_PAGES, 12, 9, MAX_WRITE, 1, MAX_WRITE // 4096,
                           0, *[0] * 8)

    def getattr(self, _):
        attr = struct.pack("<6Q10I", 1, self.size, self.size // 512, 0, 0, 0, 0, 0, 0, 0o100600, 1, 0, 0, 0, 4096, 0)
        return struct.pack("<QII", 3600, 0, 0) + attr

    def open(self, _):
        return struct.pack("<QII", 0, 0, 0)

    def read(self, body):
        _, off, size = struct.unpack_from("<QQI", body)
        return os.pread(self.image, size, off)

    def write(self, body):
        _, off, size = struct.unpack_from("<QQI", body)
        data = body[40:40 + size]
        os.pwrite(self.image, data, off)
        os.write(self.log, b"W" + struct.pack("<QI", off, size) + data)
        return struct.pack("<II", size, 0)

    def fsync(self, _):
        os.write(self.log, b"F")
        return b""

    def nothing(self, _):
        return b""


def serve(fd, disk):
    answers = {INIT: disk.init, GETATTR: disk.getattr, OPEN: disk.open, READ: disk.read, WRITE: disk.write,
               FSYNC: disk.fsync, FLUSH: disk.nothing, RELEASE: disk.nothing, DESTROY: disk.nothing}
    while True:
        try:
            request = os.read(fd, MAX_WRITE + 4096)
        except InterruptedError:
            continue
        except OSError:  # unmounted
            return
        _, opcode, unique, *_ = IN_HEADER.unpack_from(request)
        if opcode in (FORGET, BATCH_FORGET, INTERRUPT):
            continue
        answer = answers.get(opcode)
        body = answer(request[IN_HEADER.size:]) if answer else b""
        os.write(fd, struct.pack("<IiQ", 16 + len(body), 0 if answer else -ENOSYS, unique) + body)


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: write_log.py IMAGE LOG AT")
    image, log, at = sys.argv[1:]
    disk = Disk(image, log)
    fd = os.open("/dev/fuse", os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={fd},rootmode=100000,user_id=0,group_id=0".encode()
    if libc.mount(b"write_log", os.fsencode(at), b"fuse", 6, options) < 0:  # nosuid, nodev
        sys.exit(f"write_log.py: {os.strerror(ctypes.get_errno())}")
    serve(fd, disk)


if __name__ == "__main__":
    main()
