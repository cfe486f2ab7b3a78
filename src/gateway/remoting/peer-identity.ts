// The user that a native peer acts for. RocketMQ signs every request, so every request is verified;
// a peer that signs nothing acts for the user that its certificate names. Only the right to publish
// to a topic, which each send asks for, is remembered.

import { type Authenticator, isAllowed, type Principal } from '../../access/auth.ts'
import { BrokerError } from '../../errors.ts'
import type { NewMessage } from '../../model/message.ts'
import { isRetryTopic, namesIn } from '../../model/names.ts'
import { asBuffer, decodeProperties, findProperty, PROPERTY } from '../../model/properties.ts'
import type { GatewaySocket } from '../../port/gateway.ts'
import type { Command } from '../../remoting/command.ts'
import type { SignedScan } from '../../remoting/fast/signed-scan.ts'
import { UNIQUE_KEY_QUERY } from '../../remoting/requests/lookup.ts'
import { ACL_FIELD, signedContent } from '../../remoting/signature.ts'
import { groupResource, retryGroupOf, topicResource } from './address.ts'
import { checkSendTopic } from './send-batch.ts'

const REMEMBERED_TOPICS_MAX = 256
const MULTI_DISPATCH = Buffer.from(PROPERTY.multiDispatch)

export class PeerIdentity {
  readonly #auth: Authenticator
  readonly #socket: Pick<GatewaySocket, 'certifiedUser'>
  /** Whose signature was right last. */
  #verified: string | undefined
  #principal: Principal | undefined
  /** Topics that `#principal` may publish to, and whether it may create them. */
  readonly #publishable = new Map<string, boolean>()

  constructor(auth: Authenticator, socket: Pick<GatewaySocket, 'certifiedUser'>) {
    this.#auth = auth
    this.#socket = socket
  }

  /** A request with a valid signature came on this connection, or one of a certified user. */
  get isVerified(): boolean {
    return this.#verified !== undefined
  }

  /** @throws BrokerError UNAUTHENTICATED */
  of(command: Command): Principal {
    const accessKey = command.fields.get(ACL_FIELD.accessKey)
    if (accessKey === undefined || accessKey === '') {
      if (this.#auth.anonymousAllowed) return this.#auth.anonymous()
      const { certifiedUser } = this.#socket
      if (certifiedUser !== undefined) {
        const principal = this.#auth.certified(certifiedUser)
        this.#verified = principal.name
        return principal
      }
      throw new BrokerError(
        'UNAUTHENTICATED',
        'the request is not signed; give the client an access key and a secret key (ACL)',
      )
    }
    const principal = this.#verify(accessKey, command)
    this.#verified = principal.name
    return principal
  }

  /** As `of`, from a scanned header; undefined when the general way has to decide, or to say no. */
  ofScanned(scan: SignedScan, body: () => Uint8Array): Principal | undefined {
    if (this.#auth.anonymousAllowed) return this.#auth.anonymous()
    const signed = scan.read()
    if (signed === undefined) return undefined
    const { accessKey, signature, content } = signed
    try {
      const principal = this.#auth.verifySignature(accessKey, signature, [content, body()])
      this.#verified = principal.name
      return principal
    } catch {
      return undefined
    }
  }

  /**
   * For how many ms the refusal of the command has to wait: guessing at a key is to take long. A
   * peer that has shown that it has the key guesses nothing, whatever is wrong with its signature.
   */
  delayMs(command: Command, { code }: BrokerError, address: string): number {
    const accessKey = command.fields.get(ACL_FIELD.accessKey) ?? ''
    if (code !== 'UNAUTHENTICATED' || accessKey === '' || accessKey === this.#verified) return 0
    return this.#auth.wrongSignature(address)
  }

  /**
   * May it also create the topic?
   * @throws BrokerError PERMISSION_DENIED when it may not even publish
   */
  mayPublish(principal: Principal, topic: string): boolean {
    if (principal !== this.#principal) {
      this.#principal = principal
      this.#publishable.clear()
    }
    const known = this.#publishable.get(topic)
    if (known !== undefined) return known
    checkSendTopic(topic)
    const retryGroup = retryGroupOf(topic)
    if (retryGroup === undefined) this.#auth.authorize(principal, 'publish', topicResource(topic))
    else this.#auth.authorize(principal, 'consume', groupResource(retryGroup))
    const mayCreate = isAllowed(this.#auth, principal, 'create', topicResource(topic))
    if (this.#publishable.size >= REMEMBERED_TOPICS_MAX) this.#publishable.clear()
    this.#publishable.set(topic, mayCreate)
    return mayCreate
  }

  /**
   * The copy that a consumer sends to its group's retry topic itself says which topic the message
   * came from, and the group's members believe it: only a peer that may consume the topic may say
   * so.
   * @throws BrokerError PERMISSION_DENIED
   */
  checkOrigin(principal: Principal, { topic, properties }: NewMessage): void {
    if (!isRetryTopic(topic)) return
    // Said twice, some readers believe the first and some the last.
    const first = findProperty(properties, PROPERTY.retryTopic)
    const last = decodeProperties(properties).get(PROPERTY.retryTopic)
    for (const origin of [first, last]) {
      if (origin !== undefined) this.#auth.authorize(principal, 'consume', topicResource(origin))
    }
  }

  /**
   * A light queue that a message names is published to as well.
   * @throws BrokerError PERMISSION_DENIED
   */
  checkDispatches(principal: Principal, { properties }: NewMessage): void {
    if (this.#auth.anonymousAllowed || !asBuffer(properties).includes(MULTI_DISPATCH)) return
    const names = findProperty(properties, PROPERTY.multiDispatch) ?? ''
    for (const name of namesIn(names)) {
      this.#auth.authorize(principal, 'publish', topicResource(name))
    }
  }

  #verify(accessKey: string, command: Command): Principal {
    const { fields, body } = command
    const signature = fields.get(ACL_FIELD.signature) ?? ''
    try {
      return this.#auth.verifySignature(accessKey, signature, signedContent(fields, body))
    } catch (error) {
      if (!fields.has(UNIQUE_KEY_QUERY)) throw error
    }
    // Clients before 4.9.4 add this field after signing.
    const signed = new Map(fields)
    signed.delete(UNIQUE_KEY_QUERY)
    return this.#auth.verifySignature(accessKey, signature, signedContent(signed, body))
  }
}
