// RocketMQ's offsetMsgId: store host and log position as 32 upper-case hex digits. Clients decode
// it (transactions, lookup by id), so it must be well formed.
import { BrokerError } from '../errors.ts'
import type { Host } from './host.ts'
import { type LogPosition, logPosition } from './positions.ts'

const FORM = /^[0-9A-Fa-f]{32}$/
const hex = (value: number, digits: number): string =>
  value.toString(16).toUpperCase().padStart(digits, '0')

export const offsetMessageId = (host: Host, position: LogPosition): string =>
  hex(host.ip, 8) + hex(host.port, 8) + hex(position, 16)

/** @throws BrokerError ARGUMENT_INVALID */
export function parseOffsetMessageId(id: string): { host: Host; position: LogPosition } {
  if (!FORM.test(id)) {
    throw new BrokerError(
      'ARGUMENT_INVALID',
      `${JSON.stringify(id.slice(0, 64))} is not a message id of 32 hex digits`,
    )
  }
  return {
    host: { ip: Number.parseInt(id.slice(0, 8), 16), port: Number.parseInt(id.slice(8, 16), 16) },
    position: logPosition(Number.parseInt(id.slice(16), 16)),
  }
}
