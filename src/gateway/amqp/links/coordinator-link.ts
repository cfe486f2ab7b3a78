// The link of a transactional controller (AMQP 4.1): each message on it declares a transaction or
// discharges one, and the outcome of the delivery is the answer.
import type { AmqpLinkState } from '../../../port/gateway.ts'
import { rejectedState, STATE } from '../codec/disposition.ts'
import type { Flow } from '../codec/flow.ts'
import {
  type CoordinatorRequest,
  declaredState,
  readCoordinatorRequest,
} from '../codec/transaction.ts'
import type { Transfer } from '../codec/transfer.ts'
import type { ControlledLink } from '../control/control-plane.ts'
import { CONDITION, describeError, linkError } from '../errors.ts'
import { COORDINATOR_CREDIT, COORDINATOR_MESSAGE_BYTES_MAX, PIECE_BYTES_MIN } from '../limits.ts'
import { IncomingCredit } from './incoming-credit.ts'
import type { Link, LinkState } from './link.ts'
import type { LinkClaim } from './link-claims.ts'
import type { ReceiverSession } from './receiver-link.ts'
import type { LocalTransactions } from './transactions.ts'

export interface CoordinatorLinkOptions {
  readonly name: string
  readonly remoteHandle: number
  readonly initialDeliveryCount: number
  /** A discharge that fails is `rejected`; the link goes where the peer does not take that. */
  readonly takesRejected: boolean
}

export class CoordinatorLink implements Link {
  readonly name: string
  readonly remoteHandle: number
  state: LinkState = 'attaching'
  controlled: ControlledLink | undefined
  claim: LinkClaim | undefined
  subscription: string | undefined
  readonly #session: ReceiverSession
  readonly #transactions: LocalTransactions
  readonly #takesRejected: boolean
  readonly #credit: IncomingCredit
  #deliveryId = -1
  #isSettled = false
  #pieces: Buffer[] = []
  #bytes = 0
  /** Discharges are done in their order. */
  #last: Promise<void> | undefined
  /** Of discharges; they count against the credit. */
  #underWay = 0

  constructor(
    session: ReceiverSession,
    transactions: LocalTransactions,
    options: CoordinatorLinkOptions,
  ) {
    this.#session = session
    this.#transactions = transactions
    this.name = options.name
    this.remoteHandle = options.remoteHandle
    this.#takesRejected = options.takesRejected
    this.#credit = new IncomingCredit(session, options.initialDeliveryCount)
  }

  attached(): void {
    if (this.state !== 'attaching') return
    this.state = 'attached'
    this.#credit.handle = this.controlled?.handle ?? 0
    this.#grant()
  }

  onFlow(flow: Flow): void {
    if (this.#credit.onFlow(flow)) this.#grant()
    if (flow.echo && this.state === 'attached') this.#credit.send()
  }

  describe(): AmqpLinkState {
    return {
      role: 'coordinator',
      address: undefined,
      group: undefined,
      credit: this.#credit.left,
      unsettled: this.#underWay,
    }
  }

  onTransfer(transfer: Transfer, bytes: Buffer, end: number): void {
    if (this.state !== 'attached') return
    if (this.#deliveryId < 0) {
      this.#credit.use(transfer)
      this.#deliveryId = transfer.deliveryId
    }
    if (transfer.aborted) {
      this.#clear()
      return
    }
    this.#isSettled ||= transfer.settled
    this.#bytes += Math.max(end - transfer.payloadAt, PIECE_BYTES_MIN)
    if (this.#bytes > COORDINATOR_MESSAGE_BYTES_MAX) {
      const text = `a message to the coordinator beyond ${COORDINATOR_MESSAGE_BYTES_MAX} bytes`
      throw linkError(CONDITION.messageSize, text)
    }
    this.#pieces.push(Buffer.from(bytes.subarray(transfer.payloadAt, end)))
    if (transfer.more) return
    const message = Buffer.concat(this.#pieces)
    const deliveryId = this.#isSettled ? undefined : this.#deliveryId
    this.#clear()
    try {
      this.#onRequest(readCoordinatorRequest(message), deliveryId)
    } catch (error) {
      this.#refuse(deliveryId, error)
    }
    this.#grant()
  }

  #clear(): void {
    this.#deliveryId = -1
    this.#isSettled = false
    this.#pieces = []
    this.#bytes = 0
  }

  /** @throws AmqpError when it is refused */
  #onRequest(request: CoordinatorRequest, deliveryId: number | undefined): void {
    if (request.kind === 'discharge') {
      const { txnId, fail } = request
      this.#underWay++
      this.#inOrder(() => this.#transactions.discharge(txnId, fail))
        .then(
          () => this.#answer(deliveryId, STATE.accepted),
          (error: unknown) => this.#refuse(deliveryId, error),
        )
        .finally(() => {
          this.#underWay--
          this.#grant()
        })
      return
    }
    if (deliveryId === undefined) {
      throw linkError(CONDITION.notAllowed, 'a declare that is settled has no answer')
    }
    if (request.isGlobal) {
      throw linkError(CONDITION.notImplemented, 'distributed transactions are not offered')
    }
    this.#answer(deliveryId, declaredState(this.#transactions.declare(this).id))
  }

  /** At once when none is under way. */
  #inOrder(discharge: () => Promise<void>): Promise<void> {
    const done = this.#last === undefined ? start(discharge) : this.#last.then(discharge)
    const last = done
      .catch(() => {})
      .then(() => {
        if (this.#last === last) this.#last = undefined
      })
    this.#last = last
    return done
  }

  #answer(deliveryId: number | undefined, state: Buffer): void {
    if (deliveryId === undefined || !this.#session.isOpen || this.state !== 'attached') return
    this.#session.settleIncoming(deliveryId, state, true)
    this.#session.sendDispositions()
  }

  #refuse(deliveryId: number | undefined, thrown: unknown): void {
    const error = describeError(thrown)
    if (this.#takesRejected && deliveryId !== undefined) {
      this.#answer(deliveryId, rejectedState(error))
    } else if (this.#session.isOpen) this.#session.detach(this, error)
  }

  #grant(): void {
    const wanted = COORDINATOR_CREDIT - this.#underWay
    const isUsed = wanted - this.#credit.left >= COORDINATOR_CREDIT / 2
    if (this.state !== 'attached' || !this.#session.isOpen || !isUsed) return
    this.#credit.grant(wanted)
  }

  close(state: 'closing' | 'gone', isLost = false): void {
    this.state = state
    this.#transactions.end(this, isLost)
  }
}

/** What it throws at once is its rejection too. */
const start = async (discharge: () => Promise<void>): Promise<void> => discharge()
