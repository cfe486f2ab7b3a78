// Our attach, byte for byte; rhea says which handle it has and when it goes out. Each end of a link
// states its own terminus as it really is and repeats the other's as it came (AMQP 2.6.3), so a
// terminus of the peer's is passed on encoded, and so is every field of ours that is as the peer
// asked.
import { CODE, FRAME_AMQP } from './performatives.ts'
import { encodedFields } from './scalar-list.ts'
import type { SourceTerminus } from './terminus.ts'
import { AmqpSymbol, ValueReader } from './value-reader.ts'
import { ValueWriter } from './value-writer.ts'
import { eachEntry } from './wire-form.ts'

export interface LinkReply {
  readonly name: string
  /** We send and the peer receives. */
  readonly isSender: boolean
  readonly sndSettleMode: number | undefined
  readonly rcvSettleMode: number | undefined
  /** Encoded; undefined is null on the wire. */
  readonly source: Buffer | undefined
  readonly target: Buffer | undefined
  readonly maxMessageSize: number | undefined
  readonly capabilities: readonly string[]
}

const NULL = Buffer.from([0x40])
const SOURCE_FIELDS_MAX = 11
const TARGET_FIELDS_MAX = 7

const ALL_OUTCOMES = [
  'amqp:accepted:list',
  'amqp:rejected:list',
  'amqp:released:list',
  'amqp:modified:list',
]
/**
 * The capabilities of nodes. Those that a peer asks for are answered, because some clients check.
 */
const NODE_CAPABILITIES = ['queue', 'topic', 'shared', 'global']

export function writeAttach(channel: number, handle: number, reply: LinkReply): Buffer {
  const writer = new ValueWriter()
  const optional = (value: number | undefined, write: (value: number) => void): void => {
    if (value === undefined) writer.null()
    else write(value)
  }
  writer.frame(FRAME_AMQP, channel, () => {
    writer.descriptor(CODE.attach).list(12, () => {
      writer.string(reply.name).uint(handle).boolean(!reply.isSender)
      optional(reply.sndSettleMode, (mode) => writer.ubyte(mode))
      optional(reply.rcvSettleMode, (mode) => writer.ubyte(mode))
      writer.raw(reply.source ?? NULL).raw(reply.target ?? NULL)
      // No delivery outlives its link here: nothing is unsettled at an attach.
      writer.null().boolean(false)
      optional(reply.isSender ? 0 : undefined, (count) => writer.uint(count))
      optional(reply.maxMessageSize, (bytes) => writer.ulong(bytes))
      symbols(writer, reply.capabilities)
    })
  })
  return writer.take()
}

/**
 * A source of ours that the peer asked for. A group keeps its place; a reader by position keeps
 * nothing.
 */
export function writeSource(asked: Buffer, source: SourceTerminus, isGroup: boolean): Buffer {
  const fields = encodedFields(asked, 0, SOURCE_FIELDS_MAX, 'source')
  const field = (index: number): Buffer => fields[index] ?? NULL
  const writer = new ValueWriter()
  writer.descriptor(CODE.source).list(SOURCE_FIELDS_MAX, () => {
    writer.raw(field(0))
    if (isGroup) writer.raw(field(1)).raw(field(2)).raw(field(3))
    else writer.uint(0).symbol('link-detach').uint(0)
    writer.boolean(false).null()
    writer.symbol(isGroup ? 'move' : 'copy')
    filters(writer, field(7), new Set(source.filters.map(({ name }) => name)))
    if (source.defaultOutcome !== undefined) writer.raw(field(8))
    else writer.descriptor(CODE.modified).list(1, () => writer.boolean(true))
    const outcomes = common(ALL_OUTCOMES, source.outcomes)
    symbols(writer, outcomes.length > 0 ? outcomes : ALL_OUTCOMES)
    symbols(writer, common(NODE_CAPABILITIES, source.capabilities))
  })
  return writer.take()
}

/** The source of a durable subscription that was looked up by its link's name. */
export function writeSubscription(topic: string, isShared: boolean): Buffer {
  const writer = new ValueWriter()
  writer.descriptor(CODE.source).list(SOURCE_FIELDS_MAX, () => {
    writer.string(topic).uint(2).symbol('never').uint(0).boolean(false).null().symbol('move')
    writer.null().null()
    symbols(writer, ALL_OUTCOMES)
    symbols(writer, isShared ? ['topic', 'shared'] : ['topic'])
  })
  return writer.take()
}

/** A target of ours: the node stays, and nothing of what a link has under way. */
export function writeTarget(
  asked: Buffer,
  target: { readonly durable: number; readonly capabilities: readonly string[] },
): Buffer {
  const fields = encodedFields(asked, 0, TARGET_FIELDS_MAX, 'target')
  const field = (index: number): Buffer => fields[index] ?? NULL
  const writer = new ValueWriter()
  writer.descriptor(CODE.target).list(TARGET_FIELDS_MAX, () => {
    writer.raw(field(0)).uint(Math.min(target.durable, 1)).raw(field(2)).raw(field(3))
    writer.boolean(false).null()
    symbols(writer, common(NODE_CAPABILITIES, target.capabilities))
  })
  return writer.take()
}

/** Of the filters that were asked for those that are applied, as they came. */
function filters(writer: ValueWriter, asked: Buffer, applied: ReadonlySet<string>): void {
  const kept: Buffer[] = []
  if (applied.size > 0) {
    const first = asked[0] === 0xc1 ? 3 : 9
    eachEntry(asked, first, asked.length, (keyAt, valueAt, next) => {
      const key = new ValueReader(asked, keyAt, valueAt).read()
      const name = key instanceof AmqpSymbol ? key.text : key
      if (typeof name === 'string' && applied.has(name)) kept.push(asked.subarray(keyAt, next))
    })
  }
  if (kept.length === 0) {
    writer.null()
    return
  }
  writer.map(kept.length, () => {
    for (const entry of kept) writer.raw(entry)
  })
}

function symbols(writer: ValueWriter, names: readonly string[]): void {
  if (names.length === 0) writer.null()
  else writer.symbolArray(names)
}

/** Every name once, however often a peer asks for it. */
export const common = (ours: readonly string[], theirs: readonly string[]): string[] =>
  ours.filter((name) => theirs.includes(name))
