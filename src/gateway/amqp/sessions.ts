// The sessions of one open connection, and the frames that belong to them. A mistake within a
// session costs the session; anything worse is thrown and costs the connection.

import type { Authenticator } from '../../access/auth.ts'
import type { AmqpLinkState } from '../../port/gateway.ts'
import { type Attachment, makeAttachment, refusal } from './attachment.ts'
import {
  type AttachFrame,
  type FieldList,
  type PeerError,
  readAttach,
  readBegin,
  readDetach,
  readFieldList,
  readGoodbye,
} from './codec/control-frames.ts'
import { Disposition } from './codec/disposition.ts'
import { Flow } from './codec/flow.ts'
import { CODE } from './codec/performatives.ts'
import { Transfer } from './codec/transfer.ts'
import type { ControlPlane } from './control/control-plane.ts'
import { AmqpError, CONDITION, describeError, type ErrorDescription } from './errors.ts'
import {
  INCOMING_WINDOW,
  LINKS_PER_CONNECTION_MAX,
  LOOKS_PER_TURN_MAX,
  NAME_BYTES_MAX,
  OUTGOING_WINDOW,
} from './limits.ts'
import { type Link, type Peer, SilentLink } from './links/link.ts'
import type { LinkClaims } from './links/link-claims.ts'
import type { Presence } from './links/presence.ts'
import type { Intake } from './links/receiver-link.ts'
import type { Subscriptions } from './links/subscriptions.ts'
import { AmqpSession } from './session.ts'

/** An attach that refuses a link, without the link's name. */
const REFUSAL_BYTES_MAX = 128

export interface SessionsOptions {
  readonly peer: Peer
  readonly control: ControlPlane
  readonly auth: Authenticator
  readonly presence: Presence
  readonly links: LinkClaims
  readonly subscriptions: Subscriptions
  readonly intake: Intake
  readonly channelsMax: number
  readonly linksPerSessionMax: number
  readonly lockMs: number
  /** An attach that held the peer's frames back is decided. */
  resume(): void
  /** The control plane broke: a bug, and the end of the connection. */
  failed(error: Error): void
}

export class Sessions {
  readonly #options: SessionsOptions
  readonly #byChannel = new Map<number, AmqpSession>()
  readonly #transfer = new Transfer()
  readonly #flow = new Flow()
  readonly #disposition = new Disposition()
  /** Deliveries looked at for dispositions that left them where they are, since the last hold. */
  #looks = 0
  #isClosed = false

  constructor(options: SessionsOptions) {
    this.#options = options
  }

  get linkCount(): number {
    let count = 0
    for (const session of this.#byChannel.values()) count += session.linkCount
    return count
  }

  /** For operators. */
  *links(): Generator<AmqpLinkState & { readonly name: string; readonly channel: number }> {
    for (const { remoteChannel: channel, links } of this.#byChannel.values()) {
      for (const link of links) {
        const state = link.describe()
        if (state !== undefined) yield { name: link.name, channel, ...state }
      }
    }
  }

  /** False: what follows waits for `resume`. @throws AmqpError that costs the connection */
  onFrame(code: number, channel: number, bytes: Buffer, at: number, end: number): boolean {
    switch (code) {
      case CODE.transfer:
      case CODE.flow:
      case CODE.disposition:
        this.#onData(code, this.#session(channel), bytes, at, end)
        return this.#looks < LOOKS_PER_TURN_MAX ? true : this.#hold()
      case CODE.begin:
        this.#onBegin(channel, readFieldList('begin', bytes, at, end))
        return true
      case CODE.attach:
        return this.#onAttach(channel, readAttach(bytes, at, end))
      case CODE.detach:
        return this.#onDetach(channel, readFieldList('detach', bytes, at, end))
      case CODE.end:
        this.#onEnd(channel, readFieldList('end', bytes, at, end))
        return this.#hold()
      default:
        throw notAllowed(`performative 0x${code.toString(16)} here`)
    }
  }

  /**
   * rhea lets an ended session's channel or a detached link's handle go some ticks later. What
   * follows waits for that, or it would be answered on a number above the peer's own channel-max or
   * handle-max. And where frames of a few bytes cost much, others have their turn in between.
   */
  #hold(): false {
    this.#looks = 0
    setImmediate(() => this.#options.resume())
    return false
  }

  #session(channel: number): AmqpSession {
    const session = this.#byChannel.get(channel)
    if (session !== undefined) return session
    throw notAllowed(`no session has begun on channel ${channel}`)
  }

  #onData(code: number, session: AmqpSession, bytes: Buffer, at: number, end: number): void {
    // We ended it, and the peer did not know yet when it sent this.
    if (!session.isOpen) return
    try {
      if (code === CODE.transfer) {
        this.#transfer.read(bytes, at, end)
        session.onTransfer(this.#transfer, bytes, end)
      } else if (code === CODE.flow) {
        this.#flow.read(bytes, at, end)
        session.onFlow(this.#flow)
      } else {
        this.#disposition.read(bytes, at, end)
        this.#looks += session.onDisposition(this.#disposition)
      }
    } catch (error) {
      this.#endFor(session, error)
    }
  }

  /** Errors of the session's scope end it; others are thrown on. */
  #endFor(session: AmqpSession, error: unknown): void {
    if (!(error instanceof AmqpError) || error.scope !== 'session') throw error
    const { log, connectionId } = this.#options.peer
    const fields = { evt: 'amqp.session_ended', connectionId, condition: error.condition }
    log.debug(fields, error.message)
    session.end(describeError(error))
  }

  #onBegin(channel: number, fields: FieldList): void {
    const { peer, control, channelsMax, linksPerSessionMax, intake } = this.#options
    if (channel >= channelsMax) {
      const message = `channel ${channel}; channel-max is ${channelsMax - 1}`
      throw new AmqpError(CONDITION.framingError, message)
    }
    if (this.#byChannel.has(channel)) {
      throw notAllowed(`a session has begun on channel ${channel} already`)
    }
    const begin = readBegin(fields)
    if (begin.remoteChannel !== undefined) {
      throw notAllowed('begin answers a session that was not begun')
    }
    const session = new AmqpSession(
      peer,
      channel,
      begin,
      linksPerSessionMax - 1,
      intake.transactions,
    )
    this.#byChannel.set(channel, session)
    const controlled = control.begin(channel, {
      nextOutgoingId: session.nextOutgoingId,
      incomingWindow: INCOMING_WINDOW,
      outgoingWindow: OUTGOING_WINDOW,
      handleMax: session.handleMax,
    })
    session.begun(controlled)
  }

  /**
   * Held until the broker has found the node: later frames may rely on the link.
   */
  #onAttach(channel: number, frame: AttachFrame): boolean {
    const session = this.#session(channel)
    if (!session.isOpen) return true
    try {
      session.checkHandle(frame.handle)
    } catch (error) {
      this.#endFor(session, error)
      return true
    }
    const excess = this.#excessOf(frame)
    if (excess !== undefined) {
      this.#onAttachment(session, frame, refusal(frame, excess))
      return true
    }
    makeAttachment(frame, session, this.#options)
      .then((attachment) => {
        this.#onAttachment(session, frame, attachment)
        this.#options.resume()
      })
      .catch((error: Error) => this.#options.failed(error))
    return false
  }

  /**
   * An attach beyond a limit is refused and costs the link alone: a client that lost its connection
   * by it would connect and attach again, and again.
   */
  #excessOf({ name }: AttachFrame): ErrorDescription | undefined {
    const nameBytes = Buffer.byteLength(name)
    if (nameBytes > NAME_BYTES_MAX) {
      const description = `attach.name is longer than ${NAME_BYTES_MAX} bytes`
      // A refusal has the name in it, and must fit into a frame.
      if (nameBytes > this.#options.peer.sendFrameBytesMax - REFUSAL_BYTES_MAX) {
        throw new AmqpError(CONDITION.invalidField, description)
      }
      return { condition: CONDITION.invalidField, description }
    }
    if (this.linkCount < LINKS_PER_CONNECTION_MAX) return undefined
    const description = `more than ${LINKS_PER_CONNECTION_MAX} links on one connection`
    return { condition: CONDITION.resourceLimit, description }
  }

  #onAttachment(session: AmqpSession, frame: AttachFrame, attachment: Attachment): void {
    if (this.#isClosed || !session.isOpen) {
      attachment.discard()
      return
    }
    const { control, peer } = this.#options
    const { reply, error, link } = attachment
    if (error !== undefined) {
      const { condition, description } = error
      const { connectionId } = peer
      peer.log.debug({ evt: 'amqp.link_refused', connectionId, condition }, description)
    }
    const { handle, name } = frame
    const controlled = control.attach(session.remoteChannel, handle, reply, error)
    session.add(link ?? new SilentLink(name, handle, 'closing'), controlled)
  }

  #onDetach(channel: number, fields: FieldList): boolean {
    const session = this.#session(channel)
    if (!session.isOpen) return true
    const { handle, isClosed, error } = readDetach(fields)
    this.#note('amqp.peer_detached', error)
    let link: Link
    try {
      link = session.attachedLink(handle)
    } catch (thrown) {
      this.#endFor(session, thrown)
      return true
    }
    const isAnswer = link.state === 'closing'
    session.remove(link, error !== undefined)
    if (isClosed && !isAnswer && link.subscription !== undefined) {
      this.#unsubscribe(session, link, link.subscription)
      return false
    }
    if (!isClosed && !isAnswer) link.controlled?.suspend()
    this.#options.control.detach(channel, handle)
    return this.#hold()
  }

  /**
   * The peer closed the link, and with it what it subscribed to: the answer waits until that is
   * gone.
   */
  #unsubscribe(session: AmqpSession, link: Link, group: string): void {
    const { control, subscriptions, failed } = this.#options
    subscriptions
      .remove(group)
      .catch((error: unknown) => link.controlled?.close(describeError(error)))
      .then(() => {
        if (!this.#isClosed && session.isOpen) {
          control.detach(session.remoteChannel, link.remoteHandle)
        }
        this.#hold()
      })
      .catch((error: Error) => failed(error))
  }

  /** The error that a peer gives with its end or detach, logged at debug. */
  #note(evt: string, error: PeerError | undefined): void {
    if (error === undefined) return
    const { log, connectionId } = this.#options.peer
    log.debug({ evt, connectionId, condition: error.condition }, error.description)
  }

  #onEnd(channel: number, fields: FieldList): void {
    const error = readGoodbye(fields)
    this.#note('amqp.peer_ended', error)
    this.#session(channel).close(error !== undefined)
    this.#byChannel.delete(channel)
    this.#options.control.end(channel)
  }

  /** Our attach with these numbers of ours is out. */
  activate(channel: number, handle: number): void {
    for (const session of this.#byChannel.values()) {
      if (session.channel === channel && session.isOpen) session.activate(handle)
    }
  }

  /** The peer takes bytes again. */
  pump(): void {
    for (const session of this.#byChannel.values()) session.pump()
  }

  /** Locks that ran out before `now` (monotonic ms). */
  expire(now: number): void {
    for (const session of this.#byChannel.values()) session.expire(now)
  }

  close(isLost: boolean): void {
    this.#isClosed = true
    for (const session of this.#byChannel.values()) session.close(isLost)
  }
}

const notAllowed = (message: string): AmqpError => new AmqpError(CONDITION.notAllowed, message)
