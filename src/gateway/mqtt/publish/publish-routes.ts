// The topic of each PUBLISH of one connection: aliases, checks and rights, worked out once per
// topic.

import type { Principal } from '../../../access/auth.ts'
import { BrokerError } from '../../../errors.ts'
import type { GatewayContext } from '../../../port/gateway.ts'
import type { MessageAddress } from '../address.ts'
import { ROUTE_NAME_CHARS_MAX, ROUTES_PER_CONNECTION_MAX } from '../limits.ts'
import { PacketReader } from '../packets/packet-reader.ts'
import { readProperties } from '../packets/properties.ts'
import { malformed, PACKET, ProtocolError, REASON, violation } from '../packets/protocol.ts'
import type { PublishPacket } from '../packets/publish-packet.ts'
import { checkName, isTopicName } from '../packets/topic-name.ts'
import { decodeName } from '../packets/utf8.ts'
import type { PublishParts } from './parts.ts'
import { isReply } from './replies.ts'
import { isTransaction } from './transactions.ts'

/**
 * Where a message goes, or why the client may not publish there; `request`: the name, where it is
 * one of a request, about a transaction or with a reply.
 */
export type KnownRoute = { readonly request: string | undefined } & (
  | { readonly route: MessageAddress; readonly refusal: undefined }
  | { readonly route: undefined; readonly refusal: BrokerError }
)

type RouteParts = Pick<PublishParts, 'options' | 'addresses'> & {
  readonly context: Pick<GatewayContext, 'auth'>
}

export class PublishRoutes {
  readonly #parts: RouteParts
  readonly #principal: Principal
  readonly #known = new Map<string, KnownRoute>()
  readonly #aliases = new Map<number, string>()
  #generation = -1
  /** Most clients publish to the same topic again. */
  #last: KnownRoute | undefined

  constructor(parts: RouteParts, principal: Principal) {
    this.#parts = parts
    this.#principal = principal
  }

  /** @throws ProtocolError */
  find(packet: PublishPacket, bytes: Buffer): KnownRoute {
    const { addresses } = this.#parts
    if (this.#generation !== addresses.generation) this.#forget(addresses.generation)
    const { topicStart, topicEnd, properties } = packet
    if (properties.topicAlias !== undefined) return this.#aliased(packet, bytes)
    const last = this.#last
    const known = last?.route?.bytes
    if (known !== undefined && isSame(known, bytes, topicStart, topicEnd)) return last!
    this.#last = this.#byName(nameOf(bytes, topicStart, topicEnd))
    return this.#last
  }

  /**
   * A PUBLISH that is too large, of which there is only the beginning, up to `end`. The alias that
   * it gives its topic holds; where the properties are not all there, none does, as this one could
   * mean another topic now.
   */
  passOver(packet: PublishPacket, bytes: Buffer, end: number): void {
    try {
      const reader = new PacketReader(bytes, packet.payloadStart, end)
      packet.properties = readProperties(reader, PACKET.publish)
    } catch {
      this.#aliases.clear()
      return
    }
    if (packet.properties.topicAlias !== undefined) this.#aliased(packet, bytes)
  }

  #aliased(packet: PublishPacket, bytes: Buffer): KnownRoute {
    const alias = packet.properties.topicAlias!
    const { topicAliasMax } = this.#parts.options
    if (alias === 0 || alias > topicAliasMax) {
      throw new ProtocolError(
        REASON.topicAliasInvalid,
        `the topic alias ${alias} is not within 1..${topicAliasMax}`,
      )
    }
    if (packet.topicEnd === packet.topicStart) {
      const name = this.#aliases.get(alias)
      if (name === undefined) throw violation(`the topic alias ${alias} has no topic`)
      return this.#byName(name)
    }
    const name = nameOf(bytes, packet.topicStart, packet.topicEnd)
    this.#aliases.set(alias, name)
    return this.#byName(name)
  }

  #byName(name: string): KnownRoute {
    const known = this.#known.get(name)
    if (known !== undefined) return known
    const made = this.#work(name)
    if (name.length > ROUTE_NAME_CHARS_MAX) return made
    if (this.#known.size >= ROUTES_PER_CONNECTION_MAX) this.#known.clear()
    this.#known.set(name, made)
    return made
  }

  #work(name: string): KnownRoute {
    const request = isTransaction(name) || isReply(name) ? name : undefined
    try {
      checkName(name, this.#parts.options)
      const route = this.#parts.addresses.route(name)
      const resource = { kind: 'topic' as const, name: route.topic }
      this.#parts.context.auth.authorize(this.#principal, 'publish', resource)
      return { request, route, refusal: undefined }
    } catch (error) {
      return { request, route: undefined, refusal: BrokerError.from(error) }
    }
  }

  #forget(generation: number): void {
    this.#generation = generation
    this.#known.clear()
    this.#last = undefined
  }
}

/**
 * Only a PUBLISH that the standard forbids ends the connection; one that we do not take is refused
 * alone.
 */
export function nameOf(bytes: Buffer, start: number, end: number): string {
  const name = decodeName(bytes, start, end)
  if (name === undefined) throw malformed('the topic is not valid UTF-8 without control characters')
  if (!isTopicName(name)) throw malformed('the topic is empty or has wildcards')
  return name
}

function isSame(known: Buffer, bytes: Buffer, start: number, end: number): boolean {
  const length = end - start
  if (known.length !== length) return false
  for (let i = 0; i < length; i++) if (known[i] !== bytes[start + i]) return false
  return true
}
