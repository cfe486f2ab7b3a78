// Requests of one connection in their plain form, served straight from the scanned header: sends,
// pulls, pops, acknowledgements and the ends of transactions. Everything else, and what has to be
// refused in words, is left to the general way.

import type { Principal } from '../../access/auth.ts'
import type { NewMessage } from '../../model/message.ts'
import { FLAG_ONE_WAY, FLAG_RESPONSE, REQUEST } from '../../remoting/codes.ts'
import { scanBinaryHeader } from '../../remoting/fast/binary-scan.ts'
import { scanEnd } from '../../remoting/fast/end-scan.ts'
import { HeaderScan } from '../../remoting/fast/header-scan.ts'
import { scanAck, scanPop } from '../../remoting/fast/pop-scan.ts'
import { scanPull } from '../../remoting/fast/pull-scan.ts'
import { SignedScan } from '../../remoting/fast/signed-scan.ts'
import { CODEC_JSON, type HeaderCodec } from '../../remoting/frame.ts'
import type { Asked } from '../../remoting/serving/connection.ts'
import { AckBatch } from './ack-batch.ts'
import type { Answering } from './answering.ts'
import type { Answer, HeldCall } from './call.ts'
import { EndBatch } from './end-batch.ts'
import { FastSend } from './fast-send.ts'
import type { PeerIdentity } from './peer-identity.ts'
import { servePop } from './requests/pop.ts'
import { servePull } from './requests/pull.ts'
import type { Sends } from './send-batch.ts'

export interface FastRequestsOptions extends Omit<Answering, 'serve'> {
  /** Of every pull and pop. */
  readonly call: Omit<HeldCall, 'opaque' | 'codec' | 'principal'>
  readonly identity: PeerIdentity
  readonly sends: Sends
  /** May another command be served beside those under way? */
  readonly hasRoom: () => boolean
  /** The peer has shown whose it is. */
  readonly trust: () => void
  /** `bytes`: what it keeps in memory until it is answered. */
  readonly settle: (asked: Asked, bytes: number, answer: Promise<Answer>) => void
}

/** Chunks are taken one after the other, so all connections share these. */
const scan = new HeaderScan()
const fastSend = new FastSend(scan)
const signed = new SignedScan(scan)
const CODES: ReadonlySet<number> = new Set([
  REQUEST.sendMessageV2,
  REQUEST.pullMessage,
  REQUEST.litePullMessage,
  REQUEST.popMessage,
  REQUEST.ackMessage,
  REQUEST.endTransaction,
])

/** undefined: the general way has to say what is unusual. */
function scannedPull(call: HeldCall): Promise<Answer> | undefined {
  const pull = scanPull(scan)
  return pull && servePull(call, pull)
}

function scannedPop(call: HeldCall): Promise<Answer> | undefined {
  const pop = scanPop(scan)
  return pop && servePop(call, pop)
}

export class FastRequests {
  readonly #options: FastRequestsOptions
  readonly #acks: AckBatch
  readonly #ends: EndBatch
  /** Of the send that is being read. */
  #sender: Principal | undefined
  #isClosed = false

  constructor(options: FastRequestsOptions) {
    this.#options = options
    const { context, output, onAnswered, settle } = options
    const serve: Answering['serve'] = (asked, answer) => settle(asked, 0, answer)
    this.#acks = new AckBatch({ context, output, serve, onAnswered })
    this.#ends = new EndBatch({ context, output, serve, onAnswered })
  }

  /** Gathered ones that are not answered yet. */
  get open(): number {
    return this.#acks.open + this.#ends.open
  }

  /** From now on none is served. */
  close(): void {
    this.#isClosed = true
  }

  /** False for everything else, and for what the general way has to find words for. */
  serve(bytes: Buffer, headerAt: number, bodyAt: number, end: number, codec: HeaderCodec): boolean {
    const isScanned =
      codec === CODEC_JSON
        ? scan.scan(bytes, headerAt, bodyAt)
        : scanBinaryHeader(scan, bytes, headerAt, bodyAt)
    if (!isScanned || this.#isClosed) return false
    const { code, flag } = scan
    if (!CODES.has(code) || (flag & FLAG_RESPONSE) !== 0) return false
    const { identity, trust } = this.#options
    const principal = identity.ofScanned(signed, () => scan.bytes.subarray(bodyAt, end))
    if (principal === undefined) return false
    if (identity.isVerified) trust()
    const isSilent = (flag & FLAG_ONE_WAY) !== 0
    if (code === REQUEST.sendMessageV2) {
      return this.#gatherSend(bodyAt, end, codec, isSilent, principal)
    }
    if (!this.#options.hasRoom()) return false
    if (code === REQUEST.endTransaction) return this.#gatherEnd(isSilent, principal)
    if (isSilent) return false
    if (code === REQUEST.ackMessage) return this.#gatherAck(principal)
    return this.#read(bodyAt - headerAt, codec, principal)
  }

  /** The chunk is over, and its sends are published. */
  flush(): void {
    this.#acks.flush()
    this.#ends.flush()
    fastSend.reset()
  }

  #gatherSend(
    bodyAt: number,
    end: number,
    codec: HeaderCodec,
    isSilent: boolean,
    principal: Principal,
  ): boolean {
    const message = this.#message(bodyAt, end, principal)
    if (message === undefined) return false
    this.#options.sends.batch.addOne(scan.opaque, codec, isSilent, message)
    return true
  }

  #message(bodyAt: number, end: number, principal: Principal): NewMessage | undefined {
    this.#sender = principal
    const { call, identity } = this.#options
    try {
      const message = fastSend.message(bodyAt, end, call.client.host, this.#mayPublish)
      if (message !== undefined) identity.checkDispatches(principal, message)
      return message
    } catch {
      // Denied: the general way answers with the reason.
      return undefined
    }
  }

  readonly #mayPublish = (topic: string): boolean =>
    this.#options.identity.mayPublish(this.#sender!, topic)

  #gatherEnd(isSilent: boolean, principal: Principal): boolean {
    // Whose right depends on the topic is asked for it the general way.
    const end = principal.admin ? scanEnd(scan) : undefined
    return end !== undefined && this.#ends.add(scan.opaque, isSilent, end)
  }

  #gatherAck(principal: Principal): boolean {
    const ack = scanAck(scan)
    if (ack === undefined) return false
    try {
      this.#acks.add(scan.opaque, principal, ack)
      return true
    } catch {
      // Denied: the general way answers with the reason.
      return false
    }
  }

  #read(bytes: number, codec: HeaderCodec, principal: Principal): boolean {
    const { code, opaque } = scan
    const { client, context, reads, signal } = this.#options.call
    const call: HeldCall = { opaque, codec, principal, client, context, reads, signal }
    const answer = code === REQUEST.popMessage ? scannedPop(call) : scannedPull(call)
    if (answer === undefined) return false
    this.#options.settle({ code, opaque, codec, flag: 0 }, bytes, answer)
    return true
  }
}
