// The ends of transactions that came in one chunk of a connection: one call, and the answers of
// those that hold in one piece of memory. Producers send them one-way; then only a failure of our
// own is heard of.
import { BrokerError } from '../../errors.ts'
import type { TransactionEnd } from '../../model/transaction.ts'
import { FLAG_ONE_WAY, REQUEST } from '../../remoting/codes.ts'
import { doneResponses } from '../../remoting/fast/done-response.ts'
import type { ScannedEnd } from '../../remoting/fast/end-scan.ts'
import { CODEC_JSON } from '../../remoting/frame.ts'
import type { Asked } from '../../remoting/serving/connection.ts'
import type { Answering } from './answering.ts'
import { endOf, endRefused } from './requests/transactions.ts'

export class EndBatch {
  readonly #options: Answering
  #ends: TransactionEnd[] = []
  #asked: Asked[] = []
  /** Ends that are not answered yet. */
  #open = 0

  constructor(options: Answering) {
    this.#options = options
  }

  get open(): number {
    return this.#open
  }

  /** False: it is neither a commit nor a rollback. */
  add(opaque: number, isSilent: boolean, fields: ScannedEnd): boolean {
    const end = endOf(this.#options.context.broker, fields)
    if (end === undefined) return false
    const flag = isSilent ? FLAG_ONE_WAY : 0
    this.#ends.push(end)
    this.#asked.push({ code: REQUEST.endTransaction, opaque, codec: CODEC_JSON, flag })
    this.#open++
    return true
  }

  /** The chunk is over. */
  flush(): void {
    if (this.#ends.length === 0) return
    const asked = this.#asked
    const ends = this.#ends
    this.#asked = []
    this.#ends = []
    this.#options.context.broker.transactions.endAll(ends).then(
      (errors) => this.#answer(asked, errors),
      (thrown: unknown) => {
        const error = BrokerError.from(thrown)
        this.#answer(
          asked,
          asked.map(() => error),
        )
      },
    )
  }

  #answer(asked: readonly Asked[], errors: readonly (BrokerError | undefined)[]): void {
    const { output, serve, onAnswered } = this.#options
    const done: number[] = []
    this.#open -= asked.length
    for (let i = 0; i < asked.length; i++) {
      const one = asked[i]!
      const error = errors[i]
      if (error !== undefined) serve(one, endRefused(error))
      else if (one.flag === 0) done.push(one.opaque)
    }
    if (done.length > 0) output.push(doneResponses(done))
    onAnswered()
  }
}
