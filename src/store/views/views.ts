// Everything derived from the log, as one thing that can be built, kept, dropped and built again.
// Changing and small parts are in memory; the rest is in a key-value store, written in batches
// that carry the mark "every record before this position is in" and a tally of what there is.
import { type Clock, Slice } from '../../clock.ts'
import { getU32, getU64, putU32, putU64 } from '../../model/bytes.ts'
import { isLightQueue, LIGHT_QUEUE_PREFIX } from '../../model/names.ts'
import { BlockCache } from './block-cache.ts'
import {
  type BlockStore,
  type ConsumeQueue,
  ENTRY_BYTES,
  type EntryBlock,
} from './consume-queue.ts'
import { DroppedTopics } from './dropped-topics.ts'
import { DueIndex } from './due-index.ts'
import { FactTable } from './fact-table.ts'
import { KeyIndex } from './key-index.ts'
import {
  BLOCK_KEY_BYTES,
  BLOCK_NUMBER_MAX,
  blockRange,
  garbageKey,
  parseGarbageKey,
  parseQueueKey,
  prefixRange,
  queueKey,
  ROOT_KEY,
  writeBlockKey,
} from './keys.ts'
import { LightQueueIndex } from './light-queues.ts'
import {
  readSeal,
  SEAL_BYTES,
  type SealedBatch,
  type SealedKeyValue,
  ViewsDamaged,
} from './pairs/sealed.ts'
import { QueueTable } from './queue-table.ts'
import { StoreTimes, type TimeRun } from './store-times.ts'
import { Tally, type TallyState } from './tally.ts'

/** Blocks of the views in memory: half a million entries, 10 MiB. */
const CACHED_BLOCKS_MAX = 16_384
/** Queues whose blocks are cleared before the next batch may be written. */
const CLEARED_AT_ONCE = 1024
const QUEUE_VALUE_BYTES = SEAL_BYTES + 44

/** Blocks of a queue's number before this one. */
interface Garbage {
  readonly number: number
  readonly before: number
}

/** The newest batch's record of itself and of everything before it. */
export interface Root {
  /** Of this build of the views. */
  readonly identity: string
  /** Of the log they are derived from. */
  readonly logId: number
  /** Grows with every opening. */
  readonly opening: number
  /** Every record before this position is in. */
  readonly mark: number
  /** The same for the key index, which lags behind. */
  readonly keysMark: number
  /** The newest record that is in; check as in record-scan.ts. */
  readonly last: { readonly position: number; readonly size: number; readonly check: number }
  /** Entries before this position are no more. */
  readonly trimmedTo: number
  readonly nextNumber: number
  /** Where record times begin anew. */
  readonly times?: readonly TimeRun[]
  readonly tallies: {
    readonly queues: TallyState
    readonly facts: TallyState
    readonly minutes: TallyState
    readonly runs: TallyState
  }
}

export interface ViewsOptions {
  readonly stored: SealedKeyValue
  readonly identity: string
  readonly logId: number
  readonly clock: Clock
  /** Blocks in memory. Default CACHED_BLOCKS_MAX. */
  readonly cachedBlocksMax?: number | undefined
  /** Of queues without durable binding: outlives this build of the views. */
  readonly liveStore: BlockStore
  /** Called once a value in the store proves wrong. */
  readonly damaged: (error: unknown) => void
}

/** Each is a value of its own in the batch, which is made in one turn. */
const FACTS_PER_BATCH = 4_096
/** One turn notes how they all are; then each takes some 10 us, in as many as that needs. */
const QUEUES_PER_BATCH = 2_048

/** What a batch takes of a queue, as it was when the batch began. */
interface Taken {
  readonly queue: ConsumeQueue
  /** undefined: the queue is gone. */
  readonly value: Buffer | undefined
  readonly number: number
  readonly blocks: readonly { readonly number: number; readonly bytes: Buffer }[]
}

/** Where a queue is to begin, as it was numbered when that was found. */
interface Cut {
  readonly queue: ConsumeQueue
  readonly number: number
  readonly shift: number
  readonly offset: number
}

export class Views implements BlockStore {
  readonly queues: QueueTable
  readonly light: LightQueueIndex
  readonly facts = new FactTable()
  readonly dropped = new DroppedTopics(this.facts)
  readonly due: DueIndex
  readonly keys: KeyIndex
  readonly times = new StoreTimes()
  mark = 0
  keysMark = 0
  last = { position: -1, size: 0, check: 0 }
  /** Entries of queues, parked messages and notes since the last batch was made. */
  unsavedEntries = 0
  readonly #options: ViewsOptions
  readonly #stored: SealedKeyValue
  readonly #cache: BlockCache
  readonly #queueTally = new Tally()
  #dirtyQueues: ConsumeQueue[] = []
  /**
   * Blocks of queues that are no more, or were trimmed: to be cleared once a batch says so, not
   * before.
   */
  #garbage: Garbage[] = []
  #clearable: Garbage[] = []
  /** Where the log starts, or is about to. */
  #trimmedTo = 0
  /** `mark` of the last batch. */
  #savedMark = 0
  #nextNumber = 1
  #batchSerial = 0
  #savedSerial = 0

  constructor(options: ViewsOptions) {
    this.#options = options
    this.#stored = options.stored
    const number = (): number => this.#nextNumber++
    this.queues = new QueueTable(this, number)
    this.light = new LightQueueIndex(this, options.liveStore, number)
    this.due = new DueIndex(options.stored, options.clock)
    this.keys = new KeyIndex(options.stored)
    const { cachedBlocksMax = CACHED_BLOCKS_MAX } = options
    this.#cache = new BlockCache(cachedBlocksMax, (block) => this.#mayGo(block))
  }

  // BlockStore

  load(queue: ConsumeQueue, block: number, count: number): Buffer {
    const key = writeBlockKey(Buffer.allocUnsafe(BLOCK_KEY_BYTES), queue.number, block)
    const value = this.#stored.get(key)
    if (value?.length === SEAL_BYTES + count * ENTRY_BYTES) return value
    const found = value === undefined ? 'missing' : `${value.length} bytes long`
    throw new ViewsDamaged(
      `block ${block} of ${queue.topic}/${queue.queueId} is ${found} instead of ${count} entries`,
    )
  }

  room(): Buffer {
    return this.#cache.room()
  }

  opened(block: EntryBlock): void {
    this.#cache.add(block)
  }

  changed(queue: ConsumeQueue): void {
    this.#dirtyQueues.push(queue)
  }

  damaged(error: unknown): void {
    this.#options.damaged(error)
  }

  #mayGo(block: EntryBlock): boolean {
    return !block.isDirty && block.savedIn <= this.#savedSerial && block.queue.evict(block)
  }

  /** Forgets a queue; its blocks are cleared some time after. */
  removeQueue(queue: ConsumeQueue): void {
    this.#garbage.push({ number: queue.number, before: BLOCK_NUMBER_MAX })
    queue.isGone = true
    queue.reset(0)
  }

  /**
   * Forgets the queues of a topic, or starts them anew where appends to them are under way already;
   * from here on, what stands before the position is no message of the topic.
   */
  dropTopic(topic: string, position: number): void {
    this.dropped.drop(topic, position)
    for (const queue of [...this.queues.of(topic)]) {
      if (queue.assigned > 0) {
        this.#garbage.push({ number: queue.number, before: BLOCK_NUMBER_MAX })
        queue.number = this.#nextNumber++
        queue.reset(0)
      } else {
        this.queues.remove(queue)
        this.removeQueue(queue)
      }
    }
  }

  /** Entries before this position are no more. */
  get trimmedTo(): number {
    return this.#trimmedTo
  }

  /** Is it time for a batch? With so many entries, or many facts or queues. */
  isFull(entries: number): boolean {
    return (
      this.unsavedEntries >= entries ||
      this.facts.unsaved >= FACTS_PER_BATCH ||
      this.#dirtyQueues.length >= QUEUES_PER_BATCH
    )
  }

  get isDirty(): boolean {
    return this.mark !== this.#savedMark || this.#dirtyQueues.length > 0
  }

  /**
   * A batch of everything that changed since the last one, as it is within the call, though it may
   * take several turns to make. At most one is under way.
   */
  async save(opening: number): Promise<SealedBatch> {
    const batch = this.#stored.batch()
    this.#batchSerial++
    this.unsavedEntries = 0
    const taken = this.#dirtyQueues.map((queue) => this.#take(queue))
    this.#dirtyQueues = []
    for (const { number, before } of this.#garbage) {
      if (before === BLOCK_NUMBER_MAX) batch.put(garbageKey(number), Buffer.alloc(SEAL_BYTES))
    }
    this.#clearable = this.#clearable.concat(this.#garbage)
    this.#garbage = []
    this.#savedMark = this.mark
    this.facts.save(batch)
    this.due.save(batch)
    this.keys.save(batch, this.#trimmedTo)
    const root = this.#root(opening)
    await this.#saveQueues(batch, taken)
    const tallies = { ...root.tallies, queues: this.#queueTally.state }
    const text = JSON.stringify({ ...root, tallies })
    batch.put(ROOT_KEY, Buffer.from(`0000${text}`, 'latin1'))
    return batch
  }

  /** The batch made last is in the store. */
  saved(): void {
    this.#savedSerial = this.#batchSerial
    this.due.saved()
    this.keys.saved()
    this.#cache.trim()
  }

  /** New ones, of a log that starts here or is about to. */
  startAt(position: number): void {
    this.#trimmedTo = position
    this.mark = position
  }

  /**
   * Entries before the position are no more: their records go. All queues are cut in one turn, and
   * the drops forgotten that were about these records: a batch of the views has all of it or
   * nothing. @throws ViewsDamaged
   */
  async trimBefore(position: number): Promise<void> {
    if (position <= this.#trimmedTo) return
    const slice = new Slice(this.#options.clock)
    const cuts: Cut[] = []
    for (const queue of [...this.queues.all(), ...this.light.durable()]) {
      if (queue.min === queue.next) continue
      const { number, shift } = queue
      cuts.push({ queue, number, shift, offset: queue.offsetAt(position) })
      if (slice.isOver) await slice.rest()
    }
    const drops = await this.dropped.before(position, slice)
    for (const queue of this.light.live()) queue.trimTo(queue.offsetAt(position))
    for (const cut of cuts) this.#cut(cut, position)
    this.dropped.forget(drops, position)
    this.times.trimBefore(position)
    this.#trimmedTo = position
  }

  #cut({ queue, number, shift, offset }: Cut, position: number): void {
    if (queue.min === queue.next) return
    const before = queue.blockOf(queue.min)
    // It began anew in between, or learned its offsets.
    const isOther = queue.number !== number || queue.shift !== shift
    queue.trimTo(isOther ? queue.offsetAt(position) : offset)
    const after = queue.blockOf(queue.min)
    if (after !== before) this.#garbage.push({ number: queue.number, before: after })
  }

  get hasGarbage(): boolean {
    return this.#clearable.length > 0
  }

  /** Clears the blocks of some queues that are no more; between batches. */
  async clearGarbage(): Promise<void> {
    for (const { number, before } of this.#clearable.splice(0, CLEARED_AT_ONCE)) {
      await this.#stored.clear(...blockRange(number, before))
      if (before < BLOCK_NUMBER_MAX) continue
      await this.#stored.clear(garbageKey(number), garbageKey(number + 1))
    }
  }

  #root(opening: number): Root {
    return {
      identity: this.#options.identity,
      logId: this.#options.logId,
      opening,
      mark: this.mark,
      keysMark: this.keys.keptTo(this.mark),
      last: this.last,
      trimmedTo: this.#trimmedTo,
      nextNumber: this.#nextNumber,
      times: this.times.runs.map((run) => ({ ...run })),
      tallies: {
        queues: this.#queueTally.state,
        facts: this.facts.tally.state,
        minutes: this.due.tally.state,
        runs: this.keys.tally.state,
      },
    }
  }

  #take(queue: ConsumeQueue): Taken {
    queue.isDirty = false
    const { number, isGone } = queue
    if (isGone) return { queue, value: undefined, number, blocks: [] }
    const blocks = [...queue.dirtyBlocks()].map((block) => {
      block.isDirty = false
      block.savedIn = this.#batchSerial
      const length = SEAL_BYTES + block.count * ENTRY_BYTES
      return { number: block.number, bytes: Buffer.from(block.bytes.subarray(0, length)) }
    })
    return { queue, value: queueValue(queue), number, blocks }
  }

  async #saveQueues(batch: SealedBatch, taken: readonly Taken[]): Promise<void> {
    const slice = new Slice(this.#options.clock)
    for (const { queue, value, number, blocks } of taken) {
      if (slice.isOver) await slice.rest()
      const key = queueKey(queue.topic, queue.queueId)
      const before = queue.seal
      if (value === undefined) {
        if (before !== -1) batch.delete(key)
        queue.seal = -1
      } else {
        for (const block of blocks) {
          writeBlockKey(blockKeyRoom, number, block.number)
          batch.put(blockKeyRoom, block.bytes)
        }
        queue.seal = batch.put(key, value)
      }
      this.#queueTally.replace(before, queue.seal)
    }
  }

  /** Takes in what the store holds. @throws ViewsDamaged when that is not whole */
  async restore(root: Root): Promise<void> {
    this.mark = root.mark
    this.#savedMark = root.mark
    this.keysMark = root.keysMark
    this.last = root.last
    this.#nextNumber = root.nextNumber
    this.#trimmedTo = root.trimmedTo
    this.times.restore(root.times)
    for await (const [key, value] of this.#stored.scan(...prefixRange('Q'))) {
      this.#restoreQueue(key, value)
    }
    for await (const [key] of this.#stored.scan(...prefixRange('G'))) {
      this.#clearable.push({ number: parseGarbageKey(key), before: BLOCK_NUMBER_MAX })
    }
    await this.facts.load(this.#stored)
    await this.due.load()
    await this.keys.load()
    const { queues, facts, minutes, runs } = root.tallies
    checkTally('queues', this.#queueTally, queues)
    checkTally('facts', this.facts.tally, facts)
    checkTally('minutes of parked messages', this.due.tally, minutes)
    checkTally('key runs', this.keys.tally, runs)
    await this.due.loadAhead()
  }

  #restoreQueue(key: Buffer, value: Buffer): void {
    const { topic, queueId } = parseQueueKey(key)
    const number = getU32(value, SEAL_BYTES)
    const queue = isLightQueue(topic)
      ? this.light.bindDurable(topic.slice(LIGHT_QUEUE_PREFIX.length), number)
      : this.queues.queue(this.queues.topic(topic), queueId, number)
    queue.min = getU64(value, SEAL_BYTES + 4)
    queue.next = getU64(value, SEAL_BYTES + 12)
    queue.shift = getU64(value, SEAL_BYTES + 20)
    queue.lastPosition = getU64(value, SEAL_BYTES + 28) - 1
    queue.notePosition = getU64(value, SEAL_BYTES + 36) - 1
    queue.seal = readSeal(value)
    this.#queueTally.replace(-1, queue.seal)
  }
}

const blockKeyRoom = Buffer.alloc(BLOCK_KEY_BYTES)

function queueValue(queue: ConsumeQueue): Buffer {
  const value = Buffer.allocUnsafe(QUEUE_VALUE_BYTES)
  putU32(value, SEAL_BYTES, queue.number)
  putU64(value, SEAL_BYTES + 4, queue.min)
  putU64(value, SEAL_BYTES + 12, queue.next)
  putU64(value, SEAL_BYTES + 20, queue.shift)
  putU64(value, SEAL_BYTES + 28, queue.lastPosition + 1)
  putU64(value, SEAL_BYTES + 36, queue.notePosition + 1)
  return value
}

function checkTally(noun: string, found: Tally, expected: TallyState): void {
  if (found.equals(expected)) return
  throw new ViewsDamaged(
    `the views hold ${found.count} ${noun}, and the root says ${expected.count} or other ones`,
  )
}

/** The root of a store, or undefined where there is none. @throws ViewsDamaged */
export function readRoot(stored: SealedKeyValue): Root | undefined {
  const value = stored.get(ROOT_KEY)
  return value && (JSON.parse(value.toString('latin1', SEAL_BYTES)) as Root)
}
