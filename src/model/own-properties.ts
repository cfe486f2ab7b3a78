// The properties that RocketMQ's broker adds to every message: its cluster, its region and that
// traces are wanted. Native clients depend on them: a Java consumer drops its trace of a message
// without a region, and a reply needs the cluster of the request. Encoded once, written behind the
// sender's own properties.
//
// A message of a native sender is stored with them, so that the answer to a pull is bytes of the
// log. One that came by another protocol is mostly read by another one too, which shows none of
// them: its record has a bit instead, and native clients are shown it with them.
import { getI32, getU16, putU16, putU32 } from './bytes.ts'
import { PROPERTIES_BYTES_MAX } from './limits.ts'
import { encodeProperties, PROPERTY, VALUE_END } from './properties.ts'
import { RecordView, SYS_FLAG, SYS_FLAG_AT } from './record.ts'

/** Apache's default, which no client compares with anything. */
const REGION = 'DefaultRegion'
const TRACE_ON = 'true'
const NONE = Buffer.alloc(0)

export class OwnProperties {
  readonly #closed: Buffer
  /** The same behind properties whose last one has no separator. */
  readonly #unclosed: Buffer

  constructor(clusterName: string) {
    this.#closed = encodeProperties([
      [PROPERTY.cluster, clusterName],
      [PROPERTY.messageRegion, REGION],
      [PROPERTY.traceOn, TRACE_ON],
    ])
    this.#unclosed = Buffer.concat([Buffer.from([VALUE_END]), this.#closed])
  }

  /**
   * The bytes to write behind these properties; undefined where the sum would exceed `bytesMax`.
   */
  behind(properties: Uint8Array, bytesMax: number): Buffer | undefined {
    const { length } = properties
    const own = this.#after(length === 0 ? VALUE_END : properties[length - 1]!)
    return length + own.length <= bytesMax ? own : undefined
  }

  /** Back-to-back records as native clients read them; the same bytes where none lacks any. */
  shown(records: Buffer): Buffer {
    let added = 0
    for (let at = 0; at < records.length; at += getI32(records, at)) {
      if (lacksOwn(records, at)) added += this.#unclosed.length
    }
    if (added === 0) return records
    const out = Buffer.allocUnsafe(records.length + added)
    let end = 0
    for (let at = 0; at < records.length; ) {
      const size = getI32(records, at)
      records.copy(out, end, at, at + size)
      end += lacksOwn(records, at) ? this.#complete(out, end, size) : size
      at += size
    }
    return out.subarray(0, end)
  }

  /** The record at `out[at]` gets them. @returns its size then */
  #complete(out: Buffer, at: number, size: number): number {
    putU32(out, at + SYS_FLAG_AT, getI32(out, at + SYS_FLAG_AT) & ~SYS_FLAG.ownProperties)
    const lengthAt = new RecordView(out, at).topicEnd
    const length = getU16(out, lengthAt)
    const end = at + size
    const own = this.#room(length, out[end - 1]!)
    own.copy(out, end)
    putU16(out, lengthAt, length + own.length)
    putU32(out, at, size + own.length)
    return size + own.length
  }

  /** A retry copy may have grown until there is no room for them. */
  #room(length: number, last: number): Buffer {
    const own = this.#after(length === 0 ? VALUE_END : last)
    return length + own.length <= PROPERTIES_BYTES_MAX ? own : NONE
  }

  #after(last: number): Buffer {
    return last === VALUE_END ? this.#closed : this.#unclosed
  }
}

const lacksOwn = (records: Buffer, at: number): boolean =>
  (getI32(records, at + SYS_FLAG_AT) & SYS_FLAG.ownProperties) !== 0

/** The value in what native clients are shown, of a record that lacks it. */
export function ownProperty(
  record: RecordView,
  name: string,
  clusterName: string,
): string | undefined {
  if ((record.sysFlag & SYS_FLAG.ownProperties) === 0) return undefined
  if (name === PROPERTY.cluster) return clusterName
  if (name === PROPERTY.messageRegion) return REGION
  return name === PROPERTY.traceOn ? TRACE_ON : undefined
}
