// Which links there are, over all connections. A link is its name, its direction and the ids of
// both containers (AMQP 2.6.1), of which ours is one: attached once more, it is stolen from where
// it was, be that another connection, another session or the same one.
import { AmqpError, CONDITION, type ErrorDescription } from '../errors.ts'

export interface ClaimedLink {
  readonly containerId: string
  readonly name: string
  /** The peer receives. */
  readonly isReceiver: boolean
  /** The user that the peer acts for. */
  readonly user: string
}

const STOLEN: ErrorDescription = {
  condition: CONDITION.stolen,
  description: 'the link was attached again elsewhere, by its name and container id',
}

export class LinkClaims {
  readonly #byLink = new Map<string, LinkClaim>()

  /** Takes nothing yet. */
  claim(link: ClaimedLink): LinkClaim {
    return new LinkClaim(this.#byLink, link)
  }
}

/** One attach of a link, from before it is decided to the end of the link. */
export class LinkClaim {
  readonly #byLink: Map<string, LinkClaim>
  readonly #link: ClaimedLink
  readonly #key: string
  #isStolen = false
  #detach: ((error: ErrorDescription) => void) | undefined

  constructor(byLink: Map<string, LinkClaim>, link: ClaimedLink) {
    this.#byLink = byLink
    this.#link = link
    const { containerId, name, isReceiver } = link
    this.#key = `${isReceiver ? 'to' : 'from'} ${containerId.length} ${containerId} ${name}`
  }

  /**
   * Takes the link from wherever it is attached: when it comes back, that one has let go of its
   * deliveries.
   * @throws AmqpError when it is attached for another user
   */
  take(): void {
    const older = this.#byLink.get(this.#key)
    if (older === this) return
    if (older !== undefined && older.#link.user !== this.#link.user) {
      const { name, containerId } = this.#link
      throw new AmqpError(
        CONDITION.resourceLocked,
        `link '${name}' of container '${containerId}' is attached for another user`,
        'link',
      )
    }
    this.#byLink.set(this.#key, this)
    older?.steal()
  }

  /**
   * The link is there; `detach` takes it down when it is stolen, at once if it was stolen before
   * this call.
   */
  attached(detach: (error: ErrorDescription) => void): void {
    this.#detach = detach
    if (this.#isStolen) detach(STOLEN)
  }

  /** Another attach has taken the link. */
  steal(): void {
    this.#isStolen = true
    this.#detach?.(STOLEN)
  }

  release(): void {
    if (this.#byLink.get(this.#key) === this) this.#byLink.delete(this.#key)
  }
}
