// The answers of POPs that are under way at one time, brought back into the order of each queue: a
// broker takes a queue's messages in their order, but a later answer may pass an earlier one.
import type { PoppedRecord } from '../../client/calls/pop-calls.ts'

/** A POP that a broker has not answered. */
export interface OpenPop {
  readonly brokerName: string
}

/** Messages of one queue that stand beside each other there. */
interface Run {
  readonly popped: PoppedRecord[]
  /** What may be answered with messages that stand before these. */
  behind: ReadonlySet<OpenPop>
}

/** What is kept of one broker. */
interface OfBroker {
  readonly open: Set<OpenPop>
  readonly queues: Map<string, OfQueue>
}

interface OfQueue {
  /** By offset. */
  readonly waiting: Run[]
  /** The offset behind what was handed out last. */
  next: number | undefined
}

export class PopOrder {
  readonly #brokers = new Map<string, OfBroker>()
  #waiting = 0

  /** Messages that wait for an answer. */
  get waiting(): number {
    return this.#waiting
  }

  /** Before it is sent. */
  open(brokerName: string): OpenPop {
    const pop = { brokerName }
    this.#of(brokerName).open.add(pop)
    return pop
  }

  /** @returns what may be handed out now, in this order; nothing came where the POP failed */
  answered(pop: OpenPop, popped: readonly PoppedRecord[]): PoppedRecord[] {
    const { open, queues } = this.#of(pop.brokerName)
    open.delete(pop)
    for (const { waiting } of queues.values()) {
      for (const run of waiting) run.behind = without(run.behind, pop)
    }
    const behind = new Set(open)
    for (const run of runsOf(popped)) {
      insert(queueOf(queues, run[0]!).waiting, { popped: run, behind })
    }
    const ready = [...queues.values()].flatMap(takeReady)
    this.#waiting += popped.length - ready.length
    return ready
  }

  /** All that waits, whatever may come before it. */
  takeAll(): PoppedRecord[] {
    this.#waiting = 0
    const queues = [...this.#brokers.values()].flatMap((broker) => [...broker.queues.values()])
    return queues.flatMap(({ waiting }) => waiting.splice(0).flatMap((run) => run.popped))
  }

  #of(brokerName: string): OfBroker {
    let broker = this.#brokers.get(brokerName)
    if (broker === undefined) {
      broker = { open: new Set(), queues: new Map() }
      this.#brokers.set(brokerName, broker)
    }
    return broker
  }
}

const offsetOf = (run: Run): number => run.popped[0]!.record.queueOffset

const without = (behind: ReadonlySet<OpenPop>, pop: OpenPop): ReadonlySet<OpenPop> =>
  behind.has(pop) ? new Set([...behind].filter((one) => one !== pop)) : behind

/** A retry topic has queues of its own. */
const queueKey = ({ handle }: PoppedRecord): string => `${handle.retryKind} ${handle.queueId}`

function queueOf(queues: Map<string, OfQueue>, popped: PoppedRecord): OfQueue {
  const key = queueKey(popped)
  let queue = queues.get(key)
  if (queue === undefined) {
    queue = { waiting: [], next: undefined }
    queues.set(key, queue)
  }
  return queue
}

function runsOf(popped: readonly PoppedRecord[]): PoppedRecord[][] {
  const runs: PoppedRecord[][] = []
  let before: PoppedRecord | undefined
  for (const one of popped) {
    const isNext =
      before !== undefined &&
      queueKey(before) === queueKey(one) &&
      before.record.queueOffset + 1 === one.record.queueOffset
    if (isNext) runs.at(-1)!.push(one)
    else runs.push([one])
    before = one
  }
  return runs
}

/** Behind those of the same offset: a message that comes again. */
function insert(waiting: Run[], run: Run): void {
  let at = waiting.length
  while (at > 0 && offsetOf(waiting[at - 1]!) > offsetOf(run)) at--
  waiting.splice(at, 0, run)
}

/**
 * Those that nothing can come before. What stands before messages was popped before they were, so
 * it waits for no POP that was sent after these had come.
 */
function takeReady(queue: OfQueue): PoppedRecord[] {
  const { waiting } = queue
  for (let i = waiting.length - 2; i >= 0; i--) {
    const [run, later] = [waiting[i]!, waiting[i + 1]!]
    if (run.behind === later.behind) continue
    run.behind = new Set([...run.behind].filter((pop) => later.behind.has(pop)))
  }
  const ready: PoppedRecord[] = []
  let count = 0
  for (; count < waiting.length; count++) {
    const run = waiting[count]!
    if (run.behind.size > 0 && offsetOf(run) !== queue.next) break
    for (const one of run.popped) ready.push(one)
    queue.next = offsetOf(run) + run.popped.length
  }
  waiting.splice(0, count)
  return ready
}
