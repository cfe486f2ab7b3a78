// The properties that RocketMQ's broker adds to every message: its cluster, its region and that
// traces are wanted. Native clients depend on them: a Java consumer drops its trace of a message
// without a region, and a reply needs the cluster of the request. Encoded once, written behind the
// sender's own properties.
import { encodeProperties, PROPERTY, VALUE_END } from '../../model/properties.ts'

/** Apache's default, which no client compares with anything. */
const REGION = 'DefaultRegion'

export class OwnProperties {
  readonly #closed: Buffer
  /** The same behind properties whose last one has no separator. */
  readonly #unclosed: Buffer

  constructor(clusterName: string) {
    this.#closed = encodeProperties([
      [PROPERTY.cluster, clusterName],
      [PROPERTY.messageRegion, REGION],
      [PROPERTY.traceOn, 'true'],
    ])
    this.#unclosed = Buffer.concat([Buffer.from([VALUE_END]), this.#closed])
  }

  /**
   * The bytes to write behind these properties; undefined where the sum would exceed `bytesMax`.
   */
  behind(properties: Uint8Array, bytesMax: number): Buffer | undefined {
    const { length } = properties
    const isOpen = length > 0 && properties[length - 1] !== VALUE_END
    const own = isOpen ? this.#unclosed : this.#closed
    return length + own.length <= bytesMax ? own : undefined
  }
}
