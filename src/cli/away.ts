// Masters that did not answer a question that all were asked: what the others said is shown, and
// they are named.
import type { BrokerError, Master } from '../client/index.ts'
import type { Terminal } from './terminal.ts'

export class Away {
  readonly #errors = new Map<string, BrokerError>()

  /** For a call that asks every master. */
  readonly missing = ({ name }: Master, error: BrokerError): void => {
    this.#errors.set(name, error)
  }

  /** Of the first that did not answer. */
  get error(): BrokerError | undefined {
    return this.#errors.values().next().value
  }

  /** As machines read it; nothing when all answered. */
  get json(): { unreachable?: readonly { broker: string; error: string }[] } {
    if (this.#errors.size === 0) return {}
    return {
      unreachable: [...this.#errors].map(([broker, { message }]) => ({ broker, error: message })),
    }
  }

  tell(terminal: Terminal): void {
    for (const [broker, { message }] of this.#errors) {
      terminal.note(`trivet: the broker '${broker}' is left out: ${message}`)
    }
  }
}
