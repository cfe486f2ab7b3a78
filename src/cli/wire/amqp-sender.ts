// Messages into one AMQP address by one link, so that they stay in order: a link's messages go to
// one queue.
import type { Connection, Delivery, EventContext, Message, Sender } from 'rhea'
import { allAccepted } from './leg.ts'

interface Waiting {
  readonly accepted: () => void
  readonly refused: (error: object | undefined) => void
}

export class AmqpSender {
  readonly #sender: Sender
  readonly #waiting = new Map<Delivery, Waiting>()
  readonly #refusal: (error: object | undefined) => Error
  #ended: Error | undefined
  #maySend: (() => void) | undefined

  /** @param refusal what to tell of a condition of the peer */
  constructor(
    connection: Connection,
    address: string,
    refusal: (error: object | undefined) => Error,
  ) {
    this.#refusal = refusal
    const sender = connection.open_sender(address)
    this.#sender = sender
    sender.on('sendable', () => this.#maySend?.())
    sender.on('accepted', ({ delivery }: EventContext) => this.#take(delivery)?.accepted())
    for (const outcome of ['rejected', 'released', 'modified']) {
      sender.on(outcome, ({ delivery }: EventContext) =>
        this.#take(delivery)?.refused(delivery?.remote_state?.['error']),
      )
    }
    sender.on('sender_close', () => this.#end(refusal(sender.error)))
  }

  /**
   * In order; settles when all are accepted.
   *
   * @param heard the peer took something, or is ready to
   * @param took told of each that is accepted, by its place
   */
  async send(
    messages: readonly Message[],
    heard: () => void,
    took: (at: number) => void,
  ): Promise<void> {
    const sent: Promise<void>[] = []
    for (const [at, message] of messages.entries()) {
      if (this.#ended === undefined && !this.#sender.sendable()) {
        await new Promise<void>((resolve) => {
          this.#maySend = resolve
        })
        heard()
      }
      const accepted = this.#sendOne(message).then(() => {
        heard()
        took(at)
      })
      // It may be refused while the next one waits for credit.
      accepted.catch(() => {})
      sent.push(accepted)
    }
    await allAccepted(sent)
  }

  #sendOne(message: Message): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) return reject(this.#ended)
      const refused = (error: object | undefined): void => reject(this.#refusal(error))
      this.#waiting.set(this.#sender.send(message), { accepted: resolve, refused })
    })
  }

  #take(delivery: Delivery | undefined): Waiting | undefined {
    if (delivery === undefined) return undefined
    const waiting = this.#waiting.get(delivery)
    this.#waiting.delete(delivery)
    return waiting
  }

  /** The peer detached the link. */
  #end(error: Error): void {
    this.#ended = error
    this.#maySend?.()
    for (const { refused } of this.#waiting.values()) refused(this.#sender.error)
    this.#waiting.clear()
  }
}
