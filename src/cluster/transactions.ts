// Transactions before a cluster: the broker of a half message keeps it, ends it, and asks what
// became of it. This gateway is asked as a producer of each group that a client of its own is a
// producer of. Whose a half message is, and for which topic, is known of those that were prepared
// or asked about here; Apache's brokers show others, ours show none.
import { endTransaction } from '../client/calls/calls.ts'
import { BrokerError } from '../errors.ts'
import { HALF_TOPIC } from '../model/names.ts'
import { logPosition, queueOffset } from '../model/positions.ts'
import { findProperty, PROPERTY } from '../model/properties.ts'
import { RecordView } from '../model/record.ts'
import type { HalfName, TransactionAsker, TransactionEnd } from '../model/transaction.ts'
import type { Transactions } from '../port/broker.ts'
import type { Command } from '../remoting/command.ts'
import { readFields } from '../remoting/layout.ts'
import { CHECK_TRANSACTION, TRANSACTION_OUTCOME } from '../remoting/requests/transactions.ts'
import type { ClusterClients } from './clients.ts'
import type { Links } from './links.ts'
import type { ClusterOptions } from './options.ts'
import type { ParcelItem } from './publish/parcel.ts'
import type { ClusterLookup } from './read/lookup.ts'

/** Half messages that are remembered. */
const HALVES_MAX = 10_000

interface Parts {
  readonly links: Links
  readonly options: ClusterOptions
  readonly lookup: ClusterLookup
  readonly clients: ClusterClients
}

type Outcome = TransactionEnd['outcome']

interface Half {
  /** As it was told first. */
  readonly name: HalfName
  /** Where it is now: Apache's broker moves it with each check. */
  place: HalfName
  readonly topic: string
  readonly group: string
  readonly transactionId: string
  /** The first that was asked for and not refused: Apache's broker would obey the next one too. */
  end?: { readonly outcome: Outcome; readonly made: Promise<void> } | undefined
}

export class ClusterTransactions implements Transactions {
  readonly #parts: Parts
  readonly #askers = new Set<TransactionAsker>()
  /** By name, oldest first. */
  readonly #halves = new Map<string, Half>()
  /** By what keeps when it is moved. */
  readonly #moving = new Map<string, Half>()

  constructor(parts: Parts) {
    this.#parts = parts
    parts.links.onCheck = (command) => this.#onCheck(command)
  }

  onPrepared(name: HalfName, { message, properties }: ParcelItem): void {
    this.#remember({
      ...{ name, place: name, topic: message.topic },
      group: findProperty(properties, PROPERTY.producerGroup) ?? '',
      transactionId: findProperty(properties, PROPERTY.uniqueKey) ?? '',
    })
  }

  async end(end: TransactionEnd): Promise<void> {
    const { half: name, group, outcome } = end
    const half = await this.#find(name)
    if (half === undefined) throw noHalf(name, 'this gateway knows of none')
    if (half.group !== group) {
      throw new BrokerError('ARGUMENT_INVALID', `the half message is none of '${group}'`)
    }
    if (half.name.queueOffset !== name.queueOffset) {
      throw new BrokerError('ARGUMENT_INVALID', 'the half message has another offset')
    }
    for (let before = half.end; before !== undefined; before = half.end) {
      const isMade = await before.made.then(
        () => true,
        () => false,
      )
      if (!isMade) continue
      if (before.outcome === outcome) return
      throw noHalf(name, 'it was ended otherwise')
    }
    const made = this.#end(half, outcome)
    const asked = { outcome, made }
    half.end = asked
    made.catch(() => {
      if (half.end === asked) half.end = undefined
    })
    await made
  }

  endAll(ends: readonly TransactionEnd[]): Promise<readonly (BrokerError | undefined)[]> {
    const ending = ends.map((end) =>
      this.end(end).then(
        () => undefined,
        (error) => BrokerError.from(error),
      ),
    )
    return Promise.all(ending)
  }

  async topic(name: HalfName): Promise<string | undefined> {
    return (await this.#find(name))?.topic
  }

  watch(asker: TransactionAsker): Disposable {
    this.#askers.add(asker)
    return { [Symbol.dispose]: () => void this.#askers.delete(asker) }
  }

  async #find(name: HalfName): Promise<Half | undefined> {
    const known = this.#halves.get(keyOf(name))
    if (known !== undefined) return known
    const { brokerName, position } = name
    const bytes = await this.#parts.lookup.byPosition(brokerName, position)
    if (bytes === undefined) return undefined
    const record = new RecordView(bytes)
    const topic = record.property(PROPERTY.realTopic)
    if (record.topic !== HALF_TOPIC || topic === undefined) return undefined
    const there = { brokerName, position, queueOffset: record.queueOffset }
    return this.#remember({ ...halfOf(record), topic, name: there, place: there })
  }

  #remember(half: Half): Half {
    if (this.#halves.size >= HALVES_MAX) {
      const oldest = this.#halves.values().next().value!
      this.#halves.delete(keyOf(oldest.name))
      this.#moving.delete(idOf(oldest))
    }
    this.#halves.set(keyOf(half.name), half)
    if (half.transactionId !== '') this.#moving.set(idOf(half), half)
    return half
  }

  async #end({ topic, group, transactionId, place }: Half, outcome: Outcome): Promise<void> {
    const { links, options } = this.#parts
    const limits = { timeoutMs: options.requestTimeoutMs }
    const connection = await links.brokers.connection(place.brokerName, limits)
    const fields = {
      ...{ topic, producerGroup: group, transactionId, msgId: transactionId },
      ...{ tranStateTableOffset: place.queueOffset, commitLogOffset: place.position },
      commitOrRollback: TRANSACTION_OUTCOME[outcome],
    }
    await endTransaction(connection, fields, limits).catch((error) => {
      // A broker refuses it in words alone.
      const isRefused = error instanceof BrokerError && error.code === 'INTERNAL'
      throw isRefused ? noHalf(place, error.message) : error
    })
  }

  #onCheck({ fields, body }: Command): void {
    const check = readFields(CHECK_TRANSACTION, fields)
    const record = new RecordView(body)
    const place: HalfName = {
      brokerName: check.bname ?? '',
      position: logPosition(check.commitLogOffset),
      queueOffset: queueOffset(check.tranStateTableOffset),
    }
    const told = { ...halfOf(record), topic: record.topic, name: place, place }
    const known = this.#halves.get(keyOf(place)) ?? this.#moving.get(idOf(told))
    const half = known ?? this.#remember(told)
    half.place = place
    const { name, topic, group, transactionId } = half
    const responseTopic = record.property(PROPERTY.transactionReplyTo)
    for (const connectionId of this.#parts.clients.producers(group)) {
      for (const asker of this.#askers) {
        if (!asker.mayAsk({ connectionId, topic, responseTopic })) continue
        asker.ask({ connectionId, group, half: name, transactionId, record: body })
        return
      }
    }
  }
}

const halfOf = (record: RecordView): Pick<Half, 'group' | 'transactionId'> => ({
  group: record.property(PROPERTY.producerGroup) ?? '',
  transactionId: record.property(PROPERTY.uniqueKey) ?? '',
})

const idOf = ({ name, group, transactionId }: Half): string =>
  JSON.stringify([name.brokerName, group, transactionId])

const keyOf = ({ brokerName, position }: HalfName): string => `${brokerName}/${position}`

const noHalf = ({ brokerName, position }: HalfName, why: string): BrokerError =>
  new BrokerError(
    'MESSAGE_NOT_FOUND',
    `no half message to end at ${position} of '${brokerName}': ${why}`,
  )
