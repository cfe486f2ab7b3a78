// What RocketMQ's clients tell of a message in the trace topic: when it was sent, and when each
// group had it. Records of fields, in text.
import type { Message } from '../consume/delivery.ts'

const RECORD_END = '\u0002'
const FIELD_END = '\u0001'

export interface TraceEvent {
  readonly kind: 'sent' | 'delivered' | 'consumed' | 'transaction-ended' | 'recalled'
  readonly messageId: string
  /** Epoch ms at the client; undefined where it does not say. */
  readonly timestampMs: number | undefined
  readonly group: string
  readonly topic?: string | undefined
  /** How long the client took for it. */
  readonly costMs?: number | undefined
  readonly succeeded?: boolean | undefined
  /** Deliveries to the group before this one. */
  readonly retries?: number | undefined
  /** Host of the client that told it. */
  readonly clientHost: string
}

/** Those of the one message, oldest first. */
export function traceEventsOf(told: readonly Message[], messageId: string): readonly TraceEvent[] {
  const events = told.flatMap((message) =>
    message
      .text()
      .split(RECORD_END)
      .flatMap((record) => eventOf(record.split(FIELD_END), message.bornHost)),
  )
  const groups = new Map(events.map((event) => [event.requestId, event.group]))
  return events
    .filter((event) => event.messageId === messageId)
    .map(({ requestId, ...event }) => ({
      ...event,
      group: event.group || (groups.get(requestId) ?? ''),
    }))
    .sort((a, b) => (a.timestampMs ?? 0) - (b.timestampMs ?? 0))
}

type Told = TraceEvent & { readonly requestId?: string | undefined }

/** Fields by position, as `TraceDataEncoder` writes them; of an unknown kind nothing. */
function eventOf(fields: readonly string[], clientHost: string): Told[] {
  const at = (index: number): string => fields[index] ?? ''
  const numberAt = (index: number): number | undefined =>
    /^\d{1,15}$/.test(at(index)) ? Number(at(index)) : undefined
  const place = { timestampMs: numberAt(1), group: at(3), clientHost }
  switch (fields[0]) {
    case 'Pub': {
      // Older clients have no place of the message before the last field.
      const succeeded = at(fields.length === 13 ? 12 : 13) === 'true'
      const sent = { topic: at(4), messageId: at(5), costMs: numberAt(10), succeeded }
      return [{ kind: 'sent', ...place, ...sent }]
    }
    case 'SubBefore': {
      const delivered = { messageId: at(5), retries: numberAt(6), requestId: at(4) }
      return [{ kind: 'delivered', ...place, ...delivered }]
    }
    case 'SubAfter': {
      const consumed = { messageId: at(2), costMs: numberAt(3), succeeded: at(4) === 'true' }
      const told = { timestampMs: numberAt(7), group: at(8), clientHost, requestId: at(1) }
      return [{ kind: 'consumed', ...told, ...consumed }]
    }
    case 'EndTransaction': {
      const succeeded = at(11) === 'COMMIT_MESSAGE'
      return [{ kind: 'transaction-ended', ...place, topic: at(4), messageId: at(5), succeeded }]
    }
    case 'Recall': {
      const recalled = { topic: at(4), messageId: at(5), succeeded: at(6) === 'true' }
      return [{ kind: 'recalled', ...place, ...recalled }]
    }
    default:
      return []
  }
}
