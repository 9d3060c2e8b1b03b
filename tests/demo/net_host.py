# SPDX-License-Identifier: BSD-3-Clause OR Apache-2.0
"""A host with one network interface, the tap of a `vhctl serve net`: 192.0.2.1. Its kernel answers pings, this program the
datagrams that come to port 7.

    unshare -rn net_host.py VHCTL SOCKET

"""
import fcntl
import signal
import socket
import struct
import subprocess
import sys

TAP, ADDRESS = "vh0", "192.0.2.1"
SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK, IFF_UP = 0x8914, 0x8916, 0x891C, 1


def address(text):
    return struct.pack("16sHH4s16x", TAP.encode(), socket.AF_INET, 0, socket.inet_aton(text))


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    device = subprocess.Popen([sys.argv[1], "serve", "net", "--tap", TAP, "--socket", sys.argv[2]], stderr=subprocess.PIPE)
    try:
        print(device.stderr.readline().decode().strip(), flush=True)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            fcntl.ioctl(s, SIOCSIFADDR, address(ADDRESS))
            fcntl.ioctl(s, SIOCSIFNETMASK, address("255.255.255.0"))
            fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH22x", TAP.encode(), IFF_UP))
            s.bind((ADDRESS, 7))
            print("ready", flush=True)
            while True:
                data, peer = s.recvfrom(2048)
                s.sendto(data, peer)
                print(f"{len(data)} bytes of {peer[0]}", flush=True)
    finally:
        device.terminate()
        device.wait()


if __name__ == "__main__":
    main()
