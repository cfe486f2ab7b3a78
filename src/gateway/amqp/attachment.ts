// From a peer's attach to a link and our answer, or to a refusal: an attach without source and
// target, and a detach that says why (AMQP 2.6.3).

import type { Authenticator } from '../../access/auth.ts'
import { BrokerError } from '../../errors.ts'
import { bareName, GRAMMAR } from './address.ts'
import {
  common,
  type LinkReply,
  writeAttach,
  writeSource,
  writeSubscription,
  writeTarget,
} from './codec/attach-frame.ts'
import { type AttachFrame, codeOf } from './codec/control-frames.ts'
import { FAILED } from './codec/disposition.ts'
import { CODE } from './codec/performatives.ts'
import { outcomesOf, readSource, readTarget, type TargetTerminus } from './codec/terminus.ts'
import { coordinatorTarget } from './codec/transaction.ts'
import { CONDITION, describeError, type ErrorDescription } from './errors.ts'
import { COORDINATOR_MESSAGE_BYTES_MAX } from './limits.ts'
import { CoordinatorLink } from './links/coordinator-link.ts'
import { type Link, type Peer, SilentLink } from './links/link.ts'
import type { LinkClaim, LinkClaims } from './links/link-claims.ts'
import type { Presence } from './links/presence.ts'
import { type Intake, ReceiverLink } from './links/receiver-link.ts'
import { SenderLink } from './links/sender-link.ts'
import { openSource } from './links/source.ts'
import type { Subscriptions } from './links/subscriptions.ts'
import { resolveTarget, type SendAddresses } from './links/target.ts'
import type { AmqpSession } from './session.ts'

export interface Attachment {
  readonly reply: LinkReply
  /** Detach right after the attach, and why. */
  readonly error: ErrorDescription | undefined
  /** undefined when the link is refused. */
  readonly link: Link | undefined
  /** Undoes it when the connection ended during the attach. */
  discard(): void
}

export interface AttachmentOptions {
  readonly peer: Peer
  readonly auth: Authenticator
  readonly presence: Presence
  readonly links: LinkClaims
  readonly subscriptions: Subscriptions
  readonly intake: Intake
  readonly lockMs: number
}

const SETTLED = 1
const UINT_MAX = 0xffff_ffff
const SECOND = 1
const REJECTED = 'amqp:rejected:list'
/** The capabilities that a link, as opposed to its node, may ask for. */
const LINK_CAPABILITIES = ['DELAYED_DELIVERY', 'SHARED-SUBS']

/** Never rejects: an error refuses the link. */
export async function makeAttachment(
  frame: AttachFrame,
  session: AmqpSession,
  options: AttachmentOptions,
): Promise<Attachment> {
  const { containerId, principal } = options.peer
  const { name, isReceiver } = frame
  const claim = options.links.claim({ containerId, name, isReceiver, user: principal.name })
  try {
    const made = await make(frame, session, options, claim)
    if (made.link !== undefined) made.link.claim = claim
    return fitting(made, frame, options.peer)
  } catch (error) {
    claim.release()
    return refusal(frame, describeRefusal(error))
  }
}

function make(
  frame: AttachFrame,
  session: AmqpSession,
  options: AttachmentOptions,
  claim: LinkClaim,
): Promise<Attachment> {
  if (
    !frame.isReceiver &&
    frame.target !== undefined &&
    codeOf(frame.target) === CODE.coordinator
  ) {
    return attachCoordinator(frame, session, options, claim)
  }
  if (!frame.isReceiver) return attachReceiver(frame, session, options, claim)
  if (frame.source === undefined) return attachSubscription(frame, options)
  return attachSender(frame, session, options, claim)
}

/**
 * The peer's own terminus comes back with ours, in one frame, which must not be longer than it
 * takes.
 */
function fitting(made: Attachment, frame: AttachFrame, peer: Peer): Attachment {
  const { length } = writeAttach(0, UINT_MAX, made.reply)
  const most = peer.sendFrameBytesMax
  if (length <= most) return made
  made.discard()
  const description = `the answering attach has ${length} bytes; frames of ${most} are the most`
  return refusal(frame, { condition: CONDITION.resourceLimit, description })
}

/** The peer sends. */
async function attachReceiver(
  frame: AttachFrame,
  session: AmqpSession,
  options: AttachmentOptions,
  claim: LinkClaim,
): Promise<Attachment> {
  const { peer, auth, intake } = options
  const target: TargetTerminus = readTarget(frame.target)
  const routes: SendAddresses = await resolveTarget(target, peer.broker, auth, peer.principal)
  claim.take()
  const link = new ReceiverLink(peer, session, intake, {
    name: frame.name,
    remoteHandle: frame.handle,
    initialDeliveryCount: frame.initialDeliveryCount,
    address: target.address,
    settlesSecond: frame.rcvSettleMode === SECOND,
    routes,
    auth,
  })
  const { encodedTarget } = frame
  const reply: LinkReply = {
    ...sameModes(frame),
    source: frame.encodedSource,
    target: encodedTarget && writeTarget(encodedTarget, target),
    maxMessageSize: peer.messageBytesMax,
    capabilities: common(LINK_CAPABILITIES, frame.desiredCapabilities),
  }
  return { reply, error: undefined, link, discard: () => discard(link) }
}

/** The peer controls transactions. */
async function attachCoordinator(
  frame: AttachFrame,
  session: AmqpSession,
  { intake }: AttachmentOptions,
  claim: LinkClaim,
): Promise<Attachment> {
  claim.take()
  const outcomes = outcomesOf(frame.source)
  const link = new CoordinatorLink(session, intake.transactions, {
    name: frame.name,
    remoteHandle: frame.handle,
    initialDeliveryCount: frame.initialDeliveryCount,
    takesRejected: outcomes.length === 0 || outcomes.includes(REJECTED),
  })
  const reply: LinkReply = {
    ...sameModes(frame),
    source: frame.encodedSource,
    target: coordinatorTarget(),
    maxMessageSize: COORDINATOR_MESSAGE_BYTES_MAX,
    capabilities: [],
  }
  return { reply, error: undefined, link, discard: () => discard(link) }
}

/** The peer receives. */
async function attachSender(
  frame: AttachFrame,
  session: AmqpSession,
  options: AttachmentOptions,
  claim: LinkClaim,
): Promise<Attachment> {
  const { peer, auth, presence, lockMs } = options
  const source = readSource(frame.source)
  const request = { linkName: frame.name, source, lockMsDefault: lockMs, claim }
  const opened = await openSource(request, peer, presence, options.subscriptions, auth)
  const { feed } = opened
  const link = new SenderLink(peer, session, {
    name: frame.name,
    remoteHandle: frame.handle,
    address: source.address,
    feed,
    isSettled: frame.sndSettleMode === SETTLED,
    // A delivery that was settled without a word was not accepted.
    defaultOutcome: source.defaultOutcome ?? FAILED,
    // Zero stands for no limit (AMQP 2.7.3).
    messageBytesMax: frame.maxMessageSize || Infinity,
  })
  link.subscription = opened.subscription
  const { encodedSource } = frame
  const reply: LinkReply = {
    ...sameModes(frame),
    source: encodedSource && writeSource(encodedSource, source, feed.lockMs !== undefined),
    target: frame.encodedTarget,
    maxMessageSize: undefined,
    capabilities: common(LINK_CAPABILITIES, frame.desiredCapabilities),
  }
  return { reply, error: undefined, link, discard: () => discard(link) }
}

/**
 * A peer that receives from no source asks for what the link had when it was there last (AMQP
 * 2.6.3): JMS looks its durable subscription up so, and closes the link to end it.
 */
async function attachSubscription(
  frame: AttachFrame,
  { peer, auth, subscriptions }: AttachmentOptions,
): Promise<Attachment> {
  const { containerId, principal } = peer
  const found = await subscriptions.find(frame.name, containerId, principal)
  auth.authorize(principal, 'consume', { kind: 'group', name: found.group })
  const link = new SilentLink(frame.name, frame.handle, 'attaching')
  link.subscription = found.group
  const reply: LinkReply = {
    ...sameModes(frame),
    source: writeSubscription(bareName(found.topic), found.isShared),
    target: frame.encodedTarget,
    maxMessageSize: undefined,
    capabilities: common(LINK_CAPABILITIES, frame.desiredCapabilities),
  }
  return { reply, error: undefined, link, discard: () => discard(link) }
}

function discard(link: Link): void {
  link.claim?.release()
  link.close('gone')
}

/** Some clients close a link whose modes differ from what they asked for. */
const sameModes = (
  frame: AttachFrame,
): Pick<LinkReply, 'name' | 'isSender' | 'sndSettleMode' | 'rcvSettleMode'> => ({
  name: frame.name,
  isSender: frame.isReceiver,
  sndSettleMode: frame.sndSettleMode,
  rcvSettleMode: frame.rcvSettleMode,
})

/** Without the peer's terminus too: go-amqp takes a link for open that has either of them. */
export function refusal(frame: AttachFrame, error: ErrorDescription): Attachment {
  const reply: LinkReply = {
    ...sameModes(frame),
    source: undefined,
    target: undefined,
    maxMessageSize: undefined,
    capabilities: [],
  }
  return { reply, error, link: undefined, discard: () => undefined }
}

/** A peer that asks for a node that does not exist is told how nodes are named. */
function describeRefusal(thrown: unknown): ErrorDescription {
  const error = describeError(thrown)
  const isMissing = thrown instanceof BrokerError && thrown.code === 'TOPIC_NOT_FOUND'
  if (!isMissing || error.description.includes(GRAMMAR)) return error
  return { ...error, description: `${error.description}; addresses are ${GRAMMAR}` }
}
