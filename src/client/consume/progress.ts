// How far a group has come on one queue, as its broker was told: by a pull, which carries it, or by
// a commit of its own where no pull goes out soon. What was told counts on the connection on which
// it was told: a broker that comes back after a crash may have lost the last of it, so it is told
// again.
import type { RemotingConnection } from '../../remoting/connection.ts'

export class Progress {
  /** The last commit of its own. */
  committing: Promise<void> = Promise.resolve()
  #offset: number | undefined
  #connection: RemotingConnection | undefined
  #carriedAt = Number.NEGATIVE_INFINITY
  #isCarried = false

  isTold(offset: number, connection: RemotingConnection): boolean {
    return this.#offset === offset && this.#connection === connection
  }

  /** Said when it is sent: `forget` when that fails. */
  tell(offset: number, connection: RemotingConnection): void {
    this.#offset = offset
    this.#connection = connection
  }

  forget(): void {
    this.#offset = undefined
    this.#connection = undefined
  }

  /** When a pull carried it last: a commit right behind could overtake the pull at the broker. */
  get carriedAt(): number {
    return this.#carriedAt
  }

  /** A pull goes out. */
  carry(offset: number, connection: RemotingConnection, at: number): void {
    this.tell(offset, connection)
    this.#carriedAt = at
    this.#isCarried = true
  }

  /** The pull is answered: what it carried is the broker's. */
  carried(): void {
    this.#isCarried = false
  }

  /** A pull that carried it has no answer: the broker may not have looked at it yet. */
  get isCarried(): boolean {
    return this.#isCarried
  }
}
