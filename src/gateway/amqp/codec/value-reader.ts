// Decodes AMQP values into plain ones, within bounds: depth, counts no larger than the bytes left,
// and a budget for elements that take no bytes. For control frames and message sections with names;
// transfer, flow and disposition have their own straight-line code. Throws AmqpError and nothing
// else.
import { isUtf8 } from 'node:buffer'
import { getI32, getU16, getU32 } from '../../../model/bytes.ts'
import { decodeError } from '../errors.ts'
import { DECODE_DEPTH_MAX, ZERO_WIDTH_ELEMENTS_MAX } from '../limits.ts'

/** A value with a descriptor; the descriptor is a code or a symbol. */
export class Described {
  readonly descriptor: AmqpValue
  readonly value: AmqpValue
  constructor(descriptor: AmqpValue, value: AmqpValue) {
    this.descriptor = descriptor
    this.value = value
  }
}

/** Milliseconds since the epoch, told apart from a number. */
export class Timestamp {
  readonly ms: number
  constructor(ms: number) {
    this.ms = ms
  }
}

/** A symbol is told apart from a string, since a peer that asks for one may not take the other. */
export class AmqpSymbol {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

/** 16 bytes; as text in the usual form. */
export class Uuid {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

export type AmqpMap = Map<AmqpValue, AmqpValue>

/** Integers beyond 2^53 are bigint; decimals and binaries are byte views of the input. */
export type AmqpValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | AmqpSymbol
  | Buffer
  | Timestamp
  | Uuid
  | Described
  | AmqpMap
  | AmqpValue[]

const CODE_POINT_MAX = 0x10ffff

export class ValueReader {
  readonly bytes: Buffer
  readonly end: number
  at: number
  #depth = 0
  #zeroWidthLeft = ZERO_WIDTH_ELEMENTS_MAX

  constructor(bytes: Buffer, at = 0, end = bytes.length) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  read(): AmqpValue {
    this.#need(1)
    const code = this.bytes[this.at++]!
    if (code !== 0) return this.#value(code)
    this.#enter()
    const descriptor = this.read()
    const described = new Described(descriptor, this.read())
    this.#depth--
    return described
  }

  #enter(): void {
    if (++this.#depth > DECODE_DEPTH_MAX) {
      throw decodeError(`values nest deeper than ${DECODE_DEPTH_MAX} levels`)
    }
  }

  #need(count: number): void {
    if (count > this.end - this.at) {
      throw decodeError(`a value needs ${count} bytes and ${this.end - this.at} are left`)
    }
  }

  #value(code: number): AmqpValue {
    switch (code >>> 4) {
      case 0x4:
        return this.#empty(code)
      case 0x5:
      case 0x6:
      case 0x7:
      case 0x8:
      case 0x9:
        return this.#fixed(code)
      case 0xa:
      case 0xb:
        return this.#variable(code)
      case 0xc:
      case 0xd:
        return this.#compound(code)
      case 0xe:
      case 0xf:
        return this.#array(code)
      default:
        throw unknownCode(code)
    }
  }

  #empty(code: number): AmqpValue {
    switch (code) {
      case 0x40:
        return null
      case 0x41:
        return true
      case 0x42:
        return false
      case 0x43:
      case 0x44:
        return 0
      case 0x45:
        return []
      default:
        throw unknownCode(code)
    }
  }

  #fixed(code: number): AmqpValue {
    const width = fixedWidth(code)
    this.#need(width)
    const b = this.bytes
    const at = this.at
    this.at += width
    switch (code) {
      case 0x50:
      case 0x52:
      case 0x53:
        return b[at]!
      case 0x51:
      case 0x54:
      case 0x55:
        return (b[at]! << 24) >> 24
      case 0x56:
        if (b[at]! > 1) throw decodeError(`${b[at]} is no boolean; 0 or 1 is`)
        return b[at] === 1
      case 0x60:
        return getU16(b, at)
      case 0x61:
        return (getU16(b, at) << 16) >> 16
      case 0x70:
        return getU32(b, at)
      case 0x71:
        return getI32(b, at)
      case 0x72:
        return b.readFloatBE(at)
      case 0x73:
        if (getU32(b, at) > CODE_POINT_MAX) throw decodeError('a char is beyond U+10FFFF')
        return String.fromCodePoint(getU32(b, at))
      case 0x80:
        return exactInteger(b.readBigUInt64BE(at))
      case 0x81:
        return exactInteger(b.readBigInt64BE(at))
      case 0x82:
        return b.readDoubleBE(at)
      case 0x83:
        return new Timestamp(Number(b.readBigInt64BE(at)))
      case 0x98:
        return new Uuid(uuidText(b, at))
      case 0x74:
      case 0x84:
      case 0x94:
        return b.subarray(at, at + width)
      default:
        throw unknownCode(code)
    }
  }

  /** Size and, for compounds and arrays, count: one byte each or four. */
  #length(wide: boolean): number {
    this.#need(wide ? 4 : 1)
    if (!wide) return this.bytes[this.at++]!
    this.at += 4
    return getU32(this.bytes, this.at - 4)
  }

  #variable(code: number): AmqpValue {
    const length = this.#length(code >= 0xb0)
    this.#need(length)
    const at = this.at
    this.at += length
    const kind = code & 0xf
    const view = this.bytes.subarray(at, this.at)
    if (kind === 0) return view
    if (kind === 3) return new AmqpSymbol(view.latin1Slice())
    if (kind !== 1) throw unknownCode(code)
    if (!isUtf8(view)) throw decodeError('a string is not UTF-8')
    return view.utf8Slice()
  }

  #compound(code: number): AmqpValue {
    if ((code & 0xf) > 1) throw unknownCode(code)
    const stop = this.#enterSized(code >= 0xd0)
    const count = this.#length(code >= 0xd0)
    if (count > stop - this.at) throw decodeError(`${count} elements in ${stop - this.at} bytes`)
    const value = code & 1 ? this.#map(count) : this.#list(count)
    this.#leave(stop)
    return value
  }

  #enterSized(wide: boolean): number {
    const size = this.#length(wide)
    this.#need(size)
    if (size < (wide ? 4 : 1)) throw decodeError('a size leaves no room for its count')
    this.#enter()
    return this.at + size
  }

  #leave(stop: number): void {
    if (this.at !== stop) throw decodeError('a size does not match its elements')
    this.#depth--
  }

  #list(count: number): AmqpValue[] {
    const list: AmqpValue[] = []
    for (let i = 0; i < count; i++) list.push(this.read())
    return list
  }

  #map(count: number): AmqpMap {
    if (count % 2 !== 0) throw decodeError('a map has an odd number of elements')
    const map: AmqpMap = new Map()
    for (let i = 0; i < count; i += 2) {
      const key = this.read()
      map.set(key instanceof AmqpSymbol ? key.text : key, this.read())
    }
    return map
  }

  #array(code: number): AmqpValue {
    if ((code & 0xf) !== 0) throw unknownCode(code)
    const stop = this.#enterSized(code >= 0xf0)
    const count = this.#length(code >= 0xf0)
    this.#need(1)
    let element = this.bytes[this.at++]!
    let descriptor: AmqpValue | undefined
    if (element === 0) {
      descriptor = this.read()
      this.#need(1)
      element = this.bytes[this.at++]!
    }
    if (element >>> 4 === 0x4) this.#takeZeroWidth(count)
    else if (count > stop - this.at) {
      throw decodeError(`${count} elements in ${stop - this.at} bytes`)
    }
    const list: AmqpValue[] = []
    for (let i = 0; i < count; i++) {
      const value = this.#value(element)
      list.push(descriptor === undefined ? value : new Described(descriptor, value))
    }
    this.#leave(stop)
    return list
  }

  #takeZeroWidth(count: number): void {
    this.#zeroWidthLeft -= count
    if (this.#zeroWidthLeft < 0) {
      throw decodeError(`more than ${ZERO_WIDTH_ELEMENTS_MAX} array elements without bytes`)
    }
  }
}

/** Bytes of a fixed-width value behind its code: 0x5_ one, 0x6_ two, up to 0x9_ sixteen. */
export const fixedWidth = (code: number): number => 1 << ((code >>> 4) - 5)

const unknownCode = (code: number): Error => decodeError(`0x${code.toString(16)} is no type code`)

const exactInteger = (value: bigint): number | bigint =>
  value >= -9_007_199_254_740_991n && value <= 9_007_199_254_740_991n ? Number(value) : value

function uuidText(bytes: Buffer, at: number): string {
  const hex = bytes.toString('hex', at, at + 16)
  const part = (from: number, to: number): string => hex.slice(from, to)
  return `${part(0, 8)}-${part(8, 12)}-${part(12, 16)}-${part(16, 20)}-${part(20, 32)}`
}
