// The signed content of a scanned request, without making a Map or a string of its fields: the same
// bytes as `signedContent` builds from decoded ones.

import { unescapeJson } from '../json/json-unescape.ts'
import { ACL_FIELD } from '../signature.ts'
import type { HeaderScan } from './header-scan.ts'

export interface SignedRequest {
  readonly accessKey: string
  readonly signature: string
  /** Valid until the next call. */
  readonly content: Buffer
}

/** More than a header's fields have in all on the hot path; a longer one goes the general way. */
const CONTENT_BYTES_MAX = 64 * 1024

export class SignedScan {
  readonly #scan: HeaderScan
  readonly #content = Buffer.allocUnsafeSlow(CONTENT_BYTES_MAX)
  readonly #order = new Int32Array(64)

  constructor(scan: HeaderScan) {
    this.#scan = scan
  }

  /** The signed fields of the scanned header; undefined when only the general way can tell. */
  read(): SignedRequest | undefined {
    const scan = this.#scan
    const key = scan.find(ACL_FIELD.accessKey)
    const signature = scan.find(ACL_FIELD.signature)
    if (key === -1 || signature === -1) return undefined
    const last = scan.count - 1
    if (scan.valueEnd[last]! - scan.nameAt[0]! > CONTENT_BYTES_MAX) return undefined
    if (!this.#sort()) return undefined
    let end = 0
    for (let k = 0; k <= last; k++) {
      const i = this.#order[k]!
      if (i === signature) continue
      end = this.#copy(i, end)
      if (end === -1) return undefined
    }
    const text = (i: number): string => scan.bytes.latin1Slice(scan.valueAt[i]!, scan.valueEnd[i]!)
    return {
      accessKey: text(key),
      signature: text(signature),
      content: this.#content.subarray(0, end),
    }
  }

  /** The value of a field at `content[at]`; where it ends, or -1 for an illegal escape. */
  #copy(i: number, at: number): number {
    const { bytes, valueAt, valueEnd, isEscaped } = this.#scan
    const [from, to] = [valueAt[i]!, valueEnd[i]!]
    if (isEscaped[i] === 1) return unescapeJson(bytes, from, to, this.#content, at)
    for (let k = from; k < to; k++) this.#content[at + k - from] = bytes[k]!
    return at + to - from
  }

  /**
   * Field indices by name.
   * @returns false for a name that comes twice, of which only the last counts
   */
  #sort(): boolean {
    const { count } = this.#scan
    const order = this.#order
    for (let i = 0; i < count; i++) {
      let k = i
      for (; k > 0; k--) {
        const compared = this.#compare(order[k - 1]!, i)
        if (compared === 0) return false
        if (compared < 0) break
        order[k] = order[k - 1]!
      }
      order[k] = i
    }
    return true
  }

  #compare(a: number, b: number): number {
    const { bytes, nameAt, nameEnd } = this.#scan
    const aEnd = nameEnd[a]!
    const bEnd = nameEnd[b]!
    let i = nameAt[a]!
    let j = nameAt[b]!
    for (; i < aEnd && j < bEnd; i++, j++) {
      if (bytes[i] !== bytes[j]) return bytes[i]! - bytes[j]!
    }
    return aEnd - i - (bEnd - j)
  }
}
