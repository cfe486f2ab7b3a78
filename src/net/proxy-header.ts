// The header of the PROXY protocol, versions 1 and 2, by which a proxy says whose connection it
// passes on: https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt
import { BlockList, isIP } from 'node:net'

export interface ProxyHeader {
  /** Of the header: the client's own begin behind them. */
  readonly bytes: number
  /** undefined: the proxy's own connection, such as a check of health. */
  readonly client: ProxiedClient | undefined
}

export interface ProxiedClient {
  readonly address: string
  readonly port: number
}

const SIGNATURE_2 = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')
const SIGNATURE_1 = Buffer.from('PROXY ', 'latin1')
/** A line, its end included. */
const BYTES_MAX_1 = 107
const HEAD_BYTES_2 = 16
/** Addresses and whatever a proxy adds about TLS. */
const BYTES_MAX_2 = 4096
const LOCAL = 0x20
const PROXY = 0x21
const TCP_4 = 0x11
const TCP_6 = 0x21

/**
 * @returns undefined where more bytes are needed
 * @throws Error whose message says what is wrong
 */
export function readProxyHeader(bytes: Buffer): ProxyHeader | undefined {
  if (begins(bytes, SIGNATURE_2)) return bytes.length < HEAD_BYTES_2 ? undefined : version2(bytes)
  if (begins(bytes, SIGNATURE_1)) return version1(bytes)
  throw new Error('it came from a proxy and has no header of the PROXY protocol')
}

/** As far as there are bytes. */
const begins = (bytes: Buffer, signature: Buffer): boolean => {
  const count = Math.min(bytes.length, signature.length)
  return bytes.compare(signature, 0, count, 0, count) === 0
}

/** 'PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n', 'PROXY UNKNOWN ...\r\n' */
function version1(bytes: Buffer): ProxyHeader | undefined {
  const end = bytes.subarray(0, BYTES_MAX_1).indexOf('\r\n')
  if (end === -1) {
    if (bytes.length < BYTES_MAX_1) return undefined
    throw wrong('its line does not end')
  }
  const [, family, address = '', , port = ''] = bytes.latin1Slice(0, end).split(' ')
  const header = { bytes: end + 2 }
  if (family === 'UNKNOWN') return { ...header, client: undefined }
  const wanted = family === 'TCP4' ? 4 : family === 'TCP6' ? 6 : undefined
  if (wanted === undefined || isIP(address) !== wanted) throw wrong('its address is none')
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) throw wrong('its port is none')
  return { ...header, client: { address, port: Number(port) } }
}

/**
 *     0 signature, 12 bytes   12 version and command   13 family   14 u16 length of what follows
 *     16 addresses: source, destination, u16 ports   then what is skipped
 */
function version2(bytes: Buffer): ProxyHeader | undefined {
  const command = bytes[12]
  const family = bytes[13]
  const length = HEAD_BYTES_2 + bytes.readUInt16BE(14)
  if (command !== LOCAL && command !== PROXY) throw wrong('its version or command is unknown')
  if (length > BYTES_MAX_2) throw wrong(`it has ${length} bytes; ${BYTES_MAX_2} are the most`)
  if (bytes.length < length) return undefined
  if (command === LOCAL) return { bytes: length, client: undefined }
  if (family === TCP_4 && length >= HEAD_BYTES_2 + 12) {
    return { bytes: length, client: { address: dotted(bytes, 16), port: bytes.readUInt16BE(24) } }
  }
  if (family === TCP_6 && length >= HEAD_BYTES_2 + 36) {
    return { bytes: length, client: { address: colons(bytes, 16), port: bytes.readUInt16BE(48) } }
  }
  throw wrong('it is of no TCP connection')
}

const dotted = (bytes: Buffer, at: number): string => [...bytes.subarray(at, at + 4)].join('.')

const colons = (bytes: Buffer, at: number): string =>
  Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(at + i * 2).toString(16)).join(':')

const wrong = (what: string): Error =>
  new Error(`its header of the PROXY protocol is wrong: ${what}`)

/** An address, or a network as '10.0.0.0/8'. */
export const isNetwork = (text: string): boolean => {
  const [address = '', bits, ...more] = text.split('/')
  const family = isIP(address)
  if (family === 0 || more.length > 0) return false
  if (bits === undefined) return true
  return /^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128)
}

/** The proxies whose connections begin with a header. */
export class ProxyAddresses {
  readonly #list = new BlockList()

  /** @param networks see `isNetwork` */
  constructor(networks: readonly string[]) {
    for (const network of networks) {
      const [address = '', bits] = network.split('/')
      const family = isIP(address) === 4 ? 'ipv4' : 'ipv6'
      if (bits === undefined) this.#list.addAddress(address, family)
      else this.#list.addSubnet(address, Number(bits), family)
    }
  }

  has(address: string): boolean {
    return this.#list.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6')
  }
}
