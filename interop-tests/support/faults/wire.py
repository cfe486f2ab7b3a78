# The network between the machines of a test: `wire.py NAMESPACE=ADDRESS ...`, each a network namespace of
# its own, or '-' for that of this program. Each gets a device with its address, and the packets go through here.
# What becomes of those from one address to another is told by lines of JSON on standard input, each
# answered by a line: {"from": ADDRESS, "to": ADDRESS, "isCut": BOOL, "delayMs": N, "jitterMs": N, "loss": SHARE}.
# The devices go when standard input ends. Needs root and /dev/net/tun.
import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
MTU = 1500
# Of one device, before the next one has its turn.
PACKETS_PER_TURN = 64
# More than wait for their time are dropped, as by any queue that is full.
PACKETS_HELD_MAX = 20_000

libc = ctypes.CDLL(None, use_errno=True)


def enter(namespace):
    if libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), 'setns')


def ip(*words):
    subprocess.run(['ip', *words], check=True)


def device_in(namespace, address, own):
    if namespace != '-':
        file = os.open('/run/netns/' + namespace, os.O_RDONLY)
        enter(file)
        os.close(file)
        ip('link', 'set', 'lo', 'up')
    device = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
    asked = struct.pack('16sH22x', b'wire%d', IFF_TUN | IFF_NO_PI)
    name = fcntl.ioctl(device, TUNSETIFF, asked)[:16].rstrip(b'\0').decode()
    ip('address', 'add', address + '/24', 'dev', name)
    ip('link', 'set', name, 'up', 'mtu', str(MTU))
    enter(own)
    return device


class Wire:
    def __init__(self, devices):
        self.devices = devices
        self.rules = {}
        self.held = []
        self.count = 0

    def carry(self, packet):
        if len(packet) < 20 or packet[0] >> 4 != 4:
            return
        source, target = packet[12:16], packet[16:20]
        rule = self.rules.get((source, target))
        if rule is None:
            self.give(target, packet)
        elif not rule.get('isCut') and random.random() >= rule.get('loss', 0):
            waits = rule.get('delayMs', 0) + random.random() * rule.get('jitterMs', 0)
            self.count += 1
            if len(self.held) < PACKETS_HELD_MAX:
                at = time.monotonic() + waits / 1000
                heapq.heappush(self.held, (at, self.count, target, packet))

    def give(self, target, packet):
        device = self.devices.get(target)
        try:
            if device is not None:
                os.write(device, packet)
        except BlockingIOError:
            pass

    def give_due(self):
        """Returns the seconds until the next one is."""
        while self.held:
            left = self.held[0][0] - time.monotonic()
            if left > 0:
                return left
            _, _, target, packet = heapq.heappop(self.held)
            self.give(target, packet)
        return None

    def read(self, device):
        try:
            for _ in range(PACKETS_PER_TURN):
                self.carry(os.read(device, 65_536))
        except BlockingIOError:
            pass

    def told(self, line):
        rule = json.loads(line)
        ends = (socket.inet_aton(rule['from']), socket.inet_aton(rule['to']))
        self.rules[ends] = rule
        print('told', flush=True)


def main():
    own = os.open('/proc/self/ns/net', os.O_RDONLY)
    machines = [word.split('=') for word in sys.argv[1:]]
    wire = Wire({socket.inet_aton(at): device_in(name, at, own) for name, at in machines})
    print('ready', flush=True)
    devices = list(wire.devices.values())
    commands = sys.stdin.fileno()
    text = b''
    while True:
        readable, _, _ = select.select([commands, *devices], [], [], wire.give_due())
        for device in readable:
            if device != commands:
                wire.read(device)
        if commands not in readable:
            continue
        piece = os.read(commands, 65_536)
        if not piece:
            return
        *lines, text = (text + piece).split(b'\n')
        for line in lines:
            wire.told(line)


main()
