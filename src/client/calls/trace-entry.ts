// RocketMQ's message trace: what a client says of the messages that it sent and handled, in the
// words of its Java client, for mqadmin and the dashboard.

/** Takes entries on their way to the trace topic. */
export interface TraceSink {
  add(entry: TraceEntry): void
}

export interface TraceEntry {
  readonly text: string
  /** Under which the entry is looked up: the message's id and its keys. */
  readonly keys: readonly string[]
}

export interface TracedMessage {
  readonly messageId: string
  readonly keys: readonly string[]
}

export interface Published extends TracedMessage {
  readonly group: string
  readonly topic: string
  readonly tag: string | undefined
  readonly offsetMessageId: string
  /** 'host:port' of the broker. */
  readonly broker: string
  readonly bodyBytes: number
  /** When the send began, epoch ms. */
  readonly atMs: number
  readonly costMs: number
}

export interface Handled extends TracedMessage {
  readonly group: string
  /** The same in both entries of one attempt. */
  readonly attemptId: string
  readonly retries: number
}

/** Of Apache's brokers that are not told another one. */
const REGION = 'DefaultRegion'
/** Java's Normal_Msg. */
const MESSAGE_KIND = 0
/** Java's ConsumeReturnType. */
const RETURNED = { success: 0, exception: 2 } as const

export function publishedEntry(sent: Published): TraceEntry {
  return entry(sent, [
    'Pub',
    sent.atMs,
    REGION,
    sent.group,
    sent.topic,
    sent.messageId,
    sent.tag ?? '',
    sent.keys.join(' '),
    sent.broker,
    sent.bodyBytes,
    Math.round(sent.costMs),
    MESSAGE_KIND,
    sent.offsetMessageId,
    true,
  ])
}

export function begunEntry(handled: Handled, atMs: number): TraceEntry {
  return entry(handled, [
    'SubBefore',
    atMs,
    REGION,
    handled.group,
    handled.attemptId,
    handled.messageId,
    handled.retries,
    handled.keys.join(' '),
  ])
}

export function endedEntry(
  handled: Handled,
  { atMs, costMs, isSuccess }: { atMs: number; costMs: number; isSuccess: boolean },
): TraceEntry {
  return entry(handled, [
    'SubAfter',
    handled.attemptId,
    handled.messageId,
    Math.round(costMs),
    isSuccess,
    handled.keys.join(' '),
    isSuccess ? RETURNED.success : RETURNED.exception,
    atMs,
    handled.group,
  ])
}

function entry(
  { messageId, keys }: TracedMessage,
  values: readonly (string | number | boolean)[],
): TraceEntry {
  return { text: `${values.join('\u0001')}\u0002`, keys: [messageId, ...keys] }
}
