// From a peer's attach to a link and our answer, or to a refusal: an attach without source and target,
// and a detach that says why (AMQP 2.6.3).
import { BrokerError } from '../../errors.ts'
import type { Authenticator } from '../auth.ts'
import { GRAMMAR } from './address.ts'
import { type AttachFrame, Fields } from './control-frames.ts'
import type { LinkReply, SourceReply, TargetReply } from './control-plane.ts'
import type { Outcome } from './disposition.ts'
import { describeError, type ErrorDescription } from './errors.ts'
import type { Feed } from './feed.ts'
import type { Ingest, IngestBudget } from './ingest.ts'
import type { Link, Peer } from './link.ts'
import type { Presence } from './presence.ts'
import { type PartialBytes, ReceiverLink } from './receiver-link.ts'
import { SenderLink } from './sender-link.ts'
import type { AmqpSession } from './session.ts'
import { openSource } from './source.ts'
import { type Routes, resolveTarget } from './target.ts'
import { readSource, readTarget, type SourceTerminus, type TargetTerminus } from './terminus.ts'
import type { Described } from './value-reader.ts'

export interface Attachment {
  readonly reply: LinkReply
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
const SECOND = 1
const ALL_OUTCOMES = [
  'amqp:accepted:list',
  'amqp:rejected:list',
  'amqp:released:list',
  'amqp:modified:list',
]
/** What a peer may ask of a node; echoed, as some clients check. */
const KNOWN_CAPABILITIES = ['queue', 'topic', 'shared', 'global']
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
    return frame.isReceiver
      ? await attachSender(frame, session, options)
      : await attachReceiver(frame, session, options)
  } catch (error) {
    return refusal(frame, describeRefusal(error))
  }
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
  const reply: LinkReply = {
    ...sameModes(frame),
    source: echoSource(frame.source),
    target: { address: target.address, capabilities: known(target.capabilities) },
    maxMessageSize: peer.messageBytesMax,
    error: undefined,
  }
  return { reply, link, discard: () => link.close('gone') }
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
  const reply: LinkReply = {
    ...sameModes(frame),
    source: sourceReply(source),
    target: echoTarget(frame.target),
    maxMessageSize: undefined,
    error: undefined,
  }
  return { reply, link, discard: () => link.close('gone') }
}

/** Some clients close a link whose modes differ from what they asked for. */
const sameModes = (
  frame: AttachFrame,
): Pick<LinkReply, 'name' | 'sndSettleMode' | 'rcvSettleMode'> => ({
  name: frame.name,
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
    error,
  }
  return { reply, link: undefined, discard: () => undefined }
}

/** Who asks for a node that is not there is told how nodes are named. */
function describeRefusal(thrown: unknown): ErrorDescription {
  const error = describeError(thrown)
  const isMissing = thrown instanceof BrokerError && thrown.code === 'TOPIC_NOT_FOUND'
  if (!isMissing || error.description.includes(GRAMMAR)) return error
  return { ...error, description: `${error.description}; addresses are ${GRAMMAR}` }
}

const sourceReply = (source: SourceTerminus): SourceReply => ({
  address: source.address,
  durable: source.durable,
  expiryPolicy: source.expiryPolicy,
  distributionMode: source.isCopy ? 'copy' : undefined,
  outcomes: source.outcomes.length > 0 ? common(ALL_OUTCOMES, source.outcomes) : ALL_OUTCOMES,
  filters: source.filters,
  capabilities: known(source.capabilities),
})

/** Every name once, however often a peer asks for it. */
const common = (ours: readonly string[], theirs: readonly string[]): string[] =>
  ours.filter((name) => theirs.includes(name))

const known = (capabilities: readonly string[]): string[] =>
  common(KNOWN_CAPABILITIES, capabilities)

/** The terminus that is the peer's own: its address and nothing more. */
function echoSource(terminus: Described | undefined): SourceReply {
  return {
    ...echoTarget(terminus),
    durable: 0,
    expiryPolicy: undefined,
    distributionMode: undefined,
    outcomes: [],
    filters: [],
  }
}

function echoTarget(terminus: Described | undefined): TargetReply {
  const fields = new Fields('terminus', terminus?.value ?? [])
  const address = fields.at(0)
  return { address: typeof address === 'string' ? address : undefined, capabilities: [] }
}
