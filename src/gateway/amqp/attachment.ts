// From a peer's attach to a link and our answer, or to a refusal: an attach without source and target,
// and a detach that says why (AMQP 2.6.3).
import { BrokerError } from '../../errors.ts'
import type { Authenticator } from '../auth.ts'
import { GRAMMAR } from './address.ts'
import { common, type LinkReply, writeAttach, writeSource, writeTarget } from './attach-frame.ts'
import type { AttachFrame } from './control-frames.ts'
import type { Outcome } from './disposition.ts'
import { CONDITION, describeError, type ErrorDescription } from './errors.ts'
import type { Feed } from './feed.ts'
import type { Ingest, IngestBudget } from './ingest.ts'
import type { Link, Peer } from './link.ts'
import type { Presence } from './presence.ts'
import { type PartialBytes, ReceiverLink } from './receiver-link.ts'
import { SenderLink } from './sender-link.ts'
import type { AmqpSession } from './session.ts'
import { openSource } from './source.ts'
import { type Routes, resolveTarget } from './target.ts'
import { readSource, readTarget, type TargetTerminus } from './terminus.ts'

export interface Attachment {
  readonly reply: LinkReply
  /** Detach right after the attach, and why. */
  readonly error: ErrorDescription | undefined
  /** undefined when the link is refused. */
  readonly link: Link | undefined
  /** Undoes it when the connection went away meanwhile. */
  discard(): void
}

export interface AttachmentOptions {
  readonly peer: Peer
  readonly auth: Authenticator
  readonly presence: Presence
  readonly intake: { ingest: Ingest; budget: IngestBudget; partials: PartialBytes }
  readonly lockMs: number
}

const SETTLED = 1
const UINT_MAX = 0xffff_ffff
const SECOND = 1
/** What a link may ask of us beside its node. */
const LINK_CAPABILITIES = ['DELAYED_DELIVERY', 'SHARED-SUBS']
/** A delivery that was settled without a word was not accepted: it counts as failed. */
const SILENT_OUTCOME: Outcome = {
  kind: 'modified',
  failed: true,
  undeliverableHere: false,
  deliverAtMs: undefined,
  delayMs: undefined,
}

/** Never rejects: what goes wrong refuses the link. */
export async function makeAttachment(
  frame: AttachFrame,
  session: AmqpSession,
  options: AttachmentOptions,
): Promise<Attachment> {
  try {
    const made = frame.isReceiver
      ? await attachSender(frame, session, options)
      : await attachReceiver(frame, session, options)
    return fitting(made, frame, options.peer)
  } catch (error) {
    return refusal(frame, describeRefusal(error))
  }
}

/** The peer's own terminus comes back with ours, in one frame, which must not be longer than it takes. */
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
): Promise<Attachment> {
  const { peer, auth, intake } = options
  const target: TargetTerminus = readTarget(frame.target)
  const routes: Routes = await resolveTarget(target, peer.broker, auth, peer.principal)
  const link = new ReceiverLink(peer, session, intake, {
    name: frame.name,
    remoteHandle: frame.handle,
    initialDeliveryCount: frame.initialDeliveryCount,
    settlesSecond: frame.rcvSettleMode === SECOND,
    routes,
  })
  const { encodedTarget } = frame
  const reply: LinkReply = {
    ...sameModes(frame),
    source: frame.encodedSource,
    target: encodedTarget && writeTarget(encodedTarget, target),
    maxMessageSize: peer.messageBytesMax,
    capabilities: common(LINK_CAPABILITIES, frame.desiredCapabilities),
  }
  return { reply, error: undefined, link, discard: () => link.close('gone') }
}

/** The peer receives. */
async function attachSender(
  frame: AttachFrame,
  session: AmqpSession,
  options: AttachmentOptions,
): Promise<Attachment> {
  const { peer, auth, presence, lockMs } = options
  const source = readSource(frame.source)
  const request = { linkName: frame.name, source, lockMsDefault: lockMs }
  const feed: Feed = await openSource(request, peer, presence, auth)
  const link = new SenderLink(peer, session, {
    name: frame.name,
    remoteHandle: frame.handle,
    feed,
    isSettled: frame.sndSettleMode === SETTLED,
    defaultOutcome: source.defaultOutcome ?? SILENT_OUTCOME,
    // Zero stands for no limit (AMQP 2.7.3).
    messageBytesMax: frame.maxMessageSize || Infinity,
  })
  const { encodedSource } = frame
  const reply: LinkReply = {
    ...sameModes(frame),
    source: encodedSource && writeSource(encodedSource, source, feed.lockMs !== undefined),
    target: frame.encodedTarget,
    maxMessageSize: undefined,
    capabilities: common(LINK_CAPABILITIES, frame.desiredCapabilities),
  }
  return { reply, error: undefined, link, discard: () => link.close('gone') }
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
function refusal(frame: AttachFrame, error: ErrorDescription): Attachment {
  const reply: LinkReply = {
    ...sameModes(frame),
    source: undefined,
    target: undefined,
    maxMessageSize: undefined,
    capabilities: [],
  }
  return { reply, error, link: undefined, discard: () => undefined }
}

/** Who asks for a node that is not there is told how nodes are named. */
function describeRefusal(thrown: unknown): ErrorDescription {
  const error = describeError(thrown)
  const isMissing = thrown instanceof BrokerError && thrown.code === 'TOPIC_NOT_FOUND'
  if (!isMissing || error.description.includes(GRAMMAR)) return error
  return { ...error, description: `${error.description}; addresses are ${GRAMMAR}` }
}
