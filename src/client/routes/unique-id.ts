// RocketMQ's client-made message id (UNIQ_KEY), 16 bytes as upper-case hex:
//
//   0 ip   4 u16 process id   6 u32 random   10 u32 ms since the month began   14 u16 counter
//
// It is made before the first attempt to send, so every copy of a message that was sent twice has
// the same one and a consumer can tell.
import { randomBytes } from 'node:crypto'
import { networkInterfaces } from 'node:os'
import type { Clock } from '../../clock.ts'
import { hostOf } from '../../model/host.ts'

/** This machine's address as other machines see it; loopback when it has no other. */
function ownAddress(): string {
  for (const addresses of Object.values(networkInterfaces())) {
    for (const { family, internal, address } of addresses ?? []) {
      if (family === 'IPv4' && !internal) return address
    }
  }
  return '127.0.0.1'
}

/**
 * One clientId per group member and producer, as RocketMQ's tools expect it: ip@pid#what is unique.
 */
export const uniqueClientId = (): string =>
  `${ownAddress()}@${process.pid}#${randomBytes(6).toString('hex')}`

export class UniqueIds {
  readonly #clock: Clock
  readonly #prefix: string
  #monthMs = 0
  #nextMonthMs = 0
  /** All but the counter, of this millisecond. */
  #head = ''
  #headMs = Number.NaN
  #counter = randomBytes(2).readUInt16BE()

  constructor(clock: Clock) {
    this.#clock = clock
    const fixed = Buffer.alloc(10)
    fixed.writeUInt32BE(hostOf(ownAddress(), 0).ip, 0)
    fixed.writeUInt16BE(process.pid & 0xffff, 4)
    fixed.set(randomBytes(4), 6)
    this.#prefix = fixed.toString('hex').toUpperCase()
  }

  next(): string {
    const now = this.#clock.now()
    if (now !== this.#headMs) this.#enterMs(now)
    this.#counter = (this.#counter + 1) & 0xffff
    return this.#head + BYTES[this.#counter >> 8] + BYTES[this.#counter & 0xff]
  }

  #enterMs(now: number): void {
    if (now >= this.#nextMonthMs || now < this.#monthMs) this.#enterMonth(now)
    this.#headMs = now
    this.#head = this.#prefix + hex(now - this.#monthMs, 8)
  }

  #enterMonth(now: number): void {
    const date = new Date(now)
    this.#monthMs = new Date(date.getFullYear(), date.getMonth(), 1).getTime()
    this.#nextMonthMs = new Date(date.getFullYear(), date.getMonth() + 1, 1).getTime()
  }
}

const hex = (value: number, digits: number): string =>
  value.toString(16).toUpperCase().padStart(digits, '0')

const BYTES = Array.from({ length: 256 }, (_, byte) => hex(byte, 2))
