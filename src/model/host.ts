// A host as a record keeps it: IPv4 address and port, 4 bytes each. Some clients (ali-ons) read
// only this width, so a genuine IPv6 address is stored as 0.0.0.0.
import { BrokerError } from '../errors.ts'

export interface Host {
  /** IPv4 address as an unsigned 32-bit number. */
  readonly ip: number
  readonly port: number
}

export const NO_HOST: Host = { ip: 0, port: 0 }

const MAPPED_PREFIX = '::ffff:'

/** '10.0.0.1' or '::ffff:10.0.0.1' and a port; any other IPv6 address becomes 0.0.0.0. */
export function hostOf(address: string, port: number): Host {
  const dotted = address.startsWith(MAPPED_PREFIX) ? address.slice(MAPPED_PREFIX.length) : address
  if (dotted === '::1') return { ip: 0x7f000001, port }
  const parts = dotted.split('.')
  if (parts.length !== 4) return { ip: 0, port }
  let ip = 0
  for (const part of parts) {
    const octet = Number(part)
    if (!Number.isInteger(octet) || octet < 0 || octet > 255) return { ip: 0, port }
    ip = ip * 256 + octet
  }
  return { ip, port }
}

const formatIp = (ip: number): string =>
  `${ip >>> 24}.${(ip >>> 16) & 255}.${(ip >>> 8) & 255}.${ip & 255}`

export const formatHost = (host: Host): string => `${formatIp(host.ip)}:${host.port}`

/** 'host:port', the port required. @throws BrokerError ARGUMENT_INVALID */
export function splitAddress(address: string): { host: string; port: number } {
  const colon = address.lastIndexOf(':')
  const port = Number(address.slice(colon + 1))
  if (colon <= 0 || !Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new BrokerError(
      'ARGUMENT_INVALID',
      `'${address}' is not an address; write host:port, for example 127.0.0.1:9876`,
    )
  }
  return { host: address.slice(0, colon), port }
}

/** Is it host:port? */
export function isAddress(text: string): boolean {
  try {
    splitAddress(text)
    return true
  } catch {
    return false
  }
}
