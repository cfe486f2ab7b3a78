// Keeps the views: opens those that are there or builds them from the log, writes them in the
// background, and replaces them by a new build when anything in them turns out to be wrong or
// cannot be written.
import { randomBytes } from 'node:crypto'
import { type Clock, Slice, type Timer } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { type LogPosition, logPosition } from '../../model/positions.ts'
import type { Counter } from '../../numbers/numbers.ts'
import { type Disk, isSpaceError } from '../disk/disk.ts'
import { Tries } from '../disk/tries.ts'
import type { CommitLog, Frame } from '../log/commit-log.ts'
import { carriedFilters } from './carried-filters.ts'
import type { ConsumeQueue } from './consume-queue.ts'
import { Dispatcher } from './dispatcher.ts'
import { HalfBuild } from './half-build.ts'
import type { KeyValue, KeyValuePlace } from './key-value.ts'
import { liveBlocks } from './live-blocks.ts'
import { MemoryFull, MemoryKeyValue } from './memory-key-value.ts'
import { checkRoot } from './root-check.ts'
import { SealedKeyValue, ViewsDamaged } from './sealed.ts'
import { readViewMarker, type ViewMarker, writeViewMarker } from './view-marker.ts'
import { readRoot, Views } from './views.ts'

/** Changes reach the views this much later at most. */
const FLUSH_DELAY_MS = 200
/** So many unsaved entries are written at once. */
const FLUSH_ENTRIES = 65_536
/** How often parked messages of the near future are looked for when nothing else happens. */
const LOAD_AHEAD_PERIOD_MS = 20_000
/** Alive for so long, an opening counts as a success. */
const PROBATION_MS = 60_000
/** After so many openings in a row that did not finish, LevelDB is taken for the cause. */
const DEATHS_MAX = 2
/** After so many early ends in a row the serving views are built again: LevelDB may abort later. */
const EARLY_SUSPECTED = 2
/** And after so many they are not opened any more, but for a build that got on in between. */
const EARLY_MAX = 4
/** Views without room on the disk stay in memory up to so much: some 10 million messages. */
const MEMORY_BYTES_MAX = 512 * 1024 * 1024
/** The name of such a build, which no marker and no directory has. */
const IN_MEMORY = 'memory'

export interface ViewKeeperOptions {
  readonly commitLog: CommitLog
  readonly place: KeyValuePlace
  readonly disk: Disk
  /** Holds the marker, and whatever the place keeps there. */
  readonly directory: string
  readonly clock: Clock
  readonly log: Logger
  /** Counts the builds from the log. */
  readonly rebuilds: Counter
  /** Tests make these small; the last two are FLUSH_ENTRIES and MEMORY_BYTES_MAX by default. */
  readonly cachedBlocksMax?: number | undefined
  readonly flushEntries?: number | undefined
  readonly memoryBytesMax?: number | undefined
}

/** One build of the views and the store it is kept in. */
interface Build {
  readonly name: string
  readonly identity: string
  readonly stored: SealedKeyValue
  readonly views: Views
  readonly dispatcher: Dispatcher
  /** Does the marker of half builds name it? */
  isNoted: boolean
  /** Why it is of no use, while it is not the current one. */
  failure: unknown
}

export class ViewKeeper {
  readonly #options: ViewKeeperOptions
  readonly #liveStore = liveBlocks()
  readonly #half: HalfBuild
  readonly #flushEntries: number
  #build: Build | undefined
  #opening = 1
  /** Of the build that is current when it was opened. */
  #buildCount = 0
  #deaths = 0
  #early = 0
  #probation: Timer | undefined
  #flushTimer: Timer | undefined
  #aheadTimer: Timer | undefined
  #flushing: Promise<void> | undefined
  readonly #rebuild: Tries
  #isClosed = false

  constructor(options: ViewKeeperOptions) {
    this.#options = options
    this.#flushEntries = options.flushEntries ?? FLUSH_ENTRIES
    this.#half = new HalfBuild(options.disk, options.directory, options.place)
    this.#rebuild = new Tries({
      clock: options.clock,
      work: () => this.#replace(),
      failed: (err, retryMs) => {
        const fields = { evt: 'views.not_built', err, retryMs }
        options.log.error(fields, 'the views could not be built; trying again')
      },
    })
  }

  get views(): Views {
    return this.#current.views
  }

  get isRebuilding(): boolean {
    return this.#rebuild.all !== undefined
  }

  /**
   * May the log's old end go? Not while a build reads it, nor by views that lack something. Between
   * two tries of a build it may: where these want room, that may be what brings it.
   */
  get mayTrim(): boolean {
    return this.#rebuild.one === undefined && this.#current.failure === undefined
  }

  get #current(): Build {
    if (this.#build === undefined) throw new Error('the views are used before they are open')
    return this.#build
  }

  /** Brings the views up to the log's end. Afterwards every frame must come through `apply`. */
  async open(): Promise<void> {
    const { disk, directory, place, clock } = this.#options
    disk.makeDirectory(directory)
    const marker = readViewMarker(disk, directory)
    let half = this.#half.read()
    if (half !== undefined && half.name === marker?.name) {
      // It became the current one.
      this.#half.end()
      half = undefined
    }
    this.#buildCount = Math.max(Number(marker?.name ?? 0), Number(half?.name ?? 0))
    this.#opening = (marker?.opening ?? 0) + 1
    this.#deaths = (marker?.deaths ?? 0) + 1
    this.#early = (marker?.early ?? 0) + 1
    const reopened = await this.#reopen(marker)
    const build = reopened ?? (await this.#buildFirst())
    this.#build = build
    this.#probation = clock.after(PROBATION_MS, () => this.#mark(this.#current, 0, 0))
    for (const name of await place.names()) {
      const isOld = /^\d+$/.test(name) && name !== build.name && name !== half?.name
      if (isOld) await place.remove(name)
    }
    if (build.name === IN_MEMORY) this.#rebuild.begin()
    else if (reopened !== undefined) this.#buildOn(half)
    this.#aheadTimer = clock.every(LOAD_AHEAD_PERIOD_MS, () => this.#flushSoon())
  }

  apply(frame: Frame, tell: (queue: ConsumeQueue) => void): void {
    const { views, dispatcher } = this.#current
    dispatcher.apply(frame)
    dispatcher.tellTouched(tell)
    if (views.isFull(this.#flushEntries)) this.#flushSoon()
    else this.#flushTimer ??= this.#options.clock.after(FLUSH_DELAY_MS, () => this.#flushSoon())
  }

  /** Starts a new build unless one is under way; the old one serves what it can until then. */
  damaged(error: unknown): void {
    if (this.isRebuilding || this.#isClosed) return
    const text = 'the views are damaged or cannot be written: they are built again from the log'
    this.#options.log.error({ evt: 'views.damaged', err: error }, text)
    this.#rebuild.begin()
  }

  /** Settles once no build is under way. */
  async whole(): Promise<void> {
    await this.#rebuild.all
  }

  /** Trims the views, and a build that begins during it. @throws ViewsDamaged */
  async trimBefore(position: number): Promise<void> {
    for (let isTrimmed = false; !isTrimmed && !this.#isClosed; ) {
      const build = this.#current
      let failure: unknown
      try {
        await build.views.trimBefore(position)
      } catch (error) {
        failure = error
        if (this.#build === build) this.damaged(error)
      }
      await this.#rebuild.one
      isTrimmed = this.#build === build
      if (isTrimmed && failure !== undefined) throw failure
    }
    this.#flushSoon()
  }

  /** Writes the new entries and closes the store. The log must be closed before. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#flushTimer?.cancel()
    this.#aheadTimer?.cancel()
    this.#probation?.cancel()
    await Promise.all([this.#rebuild.close(), this.#flushing])
    if (this.#build === undefined) return
    try {
      if (this.#build.views.isDirty) await this.#write(this.#build, true)
    } catch (error) {
      const fields = { evt: 'views.not_saved', err: error }
      this.#options.log.warn(
        fields,
        'the views were not saved: the next start replays more of the log',
      )
    }
    await this.#build.stored.close()
    this.#mark(this.#build, 0, 0)
  }

  /** Due entries are loaded ahead of their time; after a jump of the clock they may be late. */
  loadDue(): void {
    if (this.views.due.wantsLoad) this.#flushSoon()
  }

  // Opening

  /** The build that the marker names, when it is whole and of this log. */
  async #reopen(marker: ViewMarker | undefined): Promise<Build | undefined> {
    if (marker === undefined) return undefined
    const { commitLog, place, log } = this.#options
    if (marker.deaths >= DEATHS_MAX || marker.early >= EARLY_MAX) {
      const fields = { evt: 'views.suspected', deaths: marker.deaths, early: marker.early }
      log.warn(fields, 'the last starts ended early: the views are built again from the log')
      return undefined
    }
    this.#mark(marker, this.#deaths, this.#early, marker.opening)
    const inner = await place.open(marker.name, false)
    if (inner === undefined) return undefined
    const stored = new SealedKeyValue(inner)
    try {
      const build = await this.#restore(marker, stored, commitLog.start)
      await this.#replay(build, Math.min(build.views.mark, build.views.keysMark))
      await this.#settle(build)
      return build
    } catch (error) {
      log.warn({ evt: 'views.rejected', err: error }, 'the views are built again from the log')
      await stored.close()
      return undefined
    }
  }

  /** The views that the store holds, cut where the log starts. @throws ViewsDamaged */
  async #restore(marker: ViewMarker, stored: SealedKeyValue, from: number): Promise<Build> {
    const root = readRoot(stored)
    checkRoot(this.#options.commitLog, root, marker)
    const build = this.#newBuild(marker.name, marker.identity, stored)
    await build.views.restore(root)
    // The log was cut, and the process died before the views knew.
    await build.views.trimBefore(from)
    return build
  }

  /** Goes on with an earlier process's build, or begins one when too many ended early. */
  #buildOn(half: ViewMarker | undefined): void {
    const { log } = this.#options
    if (half === undefined && this.#early <= EARLY_SUSPECTED) return
    const fields = { evt: 'views.suspected', early: this.#early - 1 }
    log.warn(fields, 'the views are built again from the log, and serve until that is done')
    this.#rebuild.begin()
  }

  #newBuild(name: string, identity: string, stored: SealedKeyValue): Build {
    const { commitLog, clock, log, cachedBlocksMax } = this.#options
    const views = new Views({
      cachedBlocksMax,
      stored,
      identity,
      logId: commitLog.id,
      clock,
      liveStore: this.#liveStore,
      damaged: (error) => {
        build.failure ??= error
        if (this.#build === build) this.damaged(error)
      },
    })
    const dispatcher = new Dispatcher(views, log, () => commitLog.isPassive)
    const state = { isNoted: false, failure: undefined }
    const build: Build = { name, identity, stored, views, dispatcher, ...state }
    return build
  }

  /** @throws BrokerError with what to do about it */
  async #buildFirst(): Promise<Build> {
    try {
      return await this.#buildAnew()
    } catch (error) {
      if (error instanceof BrokerError) throw error
      if (isNoRoom(error)) return this.#buildInMemory(error)
      const { message, cause } = error as Error
      const why = cause instanceof Error ? cause.message : message
      throw this.#unwritable(`cannot be written (${why})`, 'or make it writable', error)
    }
  }

  #unwritable(what: string, orElse: string, cause: unknown): BrokerError {
    const text = `the views in '${this.#options.directory}' ${what}: free some space on their disk, ${orElse}`
    return new BrokerError('CONFIG_INVALID', text, { cause })
  }

  /** A full disk keeps no consumer from reading: the views move to the disk when there is room. */
  async #buildInMemory(error: unknown): Promise<Build> {
    const text = 'there is no room for the views: they are kept in memory until there is'
    this.#options.log.error({ evt: 'views.in_memory', err: error }, text)
    try {
      return await this.#buildAnew(true)
    } catch (thrown) {
      if (!(thrown instanceof MemoryFull)) throw thrown
      const what = `find no room, and are too large to be kept in memory until there is (${thrown.message})`
      throw this.#unwritable(what, 'or move the data directory to a larger one', thrown)
    }
  }

  /** Views of the whole log in a new store, from now on the one that the marker names. */
  async #buildAnew(isInMemory = false): Promise<Build> {
    const { commitLog, clock, log, rebuilds } = this.#options
    rebuilds.value++
    const startedMs = clock.monotonic()
    // Segments that retention has trimmed may go while this reads: they are no part of the log any
    // more.
    const from = logPosition(Math.max(commitLog.start, this.#build?.views.trimmedTo ?? 0))
    const half = isInMemory ? undefined : await this.#resume(from)
    const build = half ?? (await this.#begin(from, isInMemory))
    try {
      await this.#replay(build, Math.min(build.views.mark, build.views.keysMark), true)
      this.#early = 0
      await this.#settle(build)
      this.#half.end()
    } catch (error) {
      await build.stored.close()
      // A build that only has to wait goes on at the next start; another one needs its room.
      if (!this.#isClosed) await this.#half.discard(build.name)
      // The log of a replica may say by now what the half build had to know from its beginning.
      if (half !== undefined && error === build.failure) return this.#buildAnew()
      throw error
    }
    if (build.views.mark > 0) {
      const ms = Math.round(clock.monotonic() - startedMs)
      const fields = { evt: 'views.built', bytes: commitLog.end - commitLog.start, ms }
      log.info(fields, 'built the views from the log')
    }
    return build
  }

  /** A new build, before its first record. */
  async #begin(from: LogPosition, isInMemory: boolean): Promise<Build> {
    const { commitLog, place, clock, memoryBytesMax = MEMORY_BYTES_MAX } = this.#options
    const name = isInMemory ? IN_MEMORY : String(++this.#buildCount)
    const inner = isInMemory ? new MemoryKeyValue(memoryBytesMax) : await this.#create(name)
    const build = this.#newBuild(name, randomBytes(8).toString('hex'), new SealedKeyValue(inner))
    const { views } = build
    views.startAt(from)
    views.keysMark = from
    if (from === 0) return build
    try {
      const slice = new Slice(clock)
      const filters = await carriedFilters(commitLog, from, slice, () => this.#rest(slice))
      for (const filter of filters) views.light.bindUnnumbered(filter)
      return build
    } catch (error) {
      await build.stored.close()
      await place.remove(name)
      throw error
    }
  }

  /** The build that an earlier process did not end, as far as it came. */
  async #resume(from: number): Promise<Build | undefined> {
    const { log } = this.#options
    const half = this.#half.read()
    if (half === undefined || half.name === this.#build?.name) return undefined
    let stored: SealedKeyValue | undefined
    try {
      const inner = await this.#half.open(half)
      if (inner === undefined) throw new ViewsDamaged('the half build does not open')
      stored = new SealedKeyValue(inner)
      const build = await this.#restore(half, stored, from)
      if (build.views.mark < from) throw new ViewsDamaged('the half build ends too early')
      build.views.light.resumeUnnumbered()
      // It opens and reads: whatever ends this process now is not LevelDB's opening.
      this.#half.note(build)
      const fields = { evt: 'views.resumed', mark: build.views.mark }
      log.info(fields, 'goes on with the views that an earlier start began to build')
      return build
    } catch (error) {
      log.warn({ evt: 'views.half_rejected', err: error }, 'the views are built from the beginning')
      await stored?.close()
      await this.#half.discard(half.name)
      return undefined
    }
  }

  /** Keeps a build's entries for the next start, and lifts suspicion from one that gets on. */
  #noteHalf(build: Build): void {
    if (build.isNoted || build.name === IN_MEMORY) return
    build.isNoted = true
    this.#half.note(build)
    const current = this.#build
    if (current === undefined || this.#early <= EARLY_SUSPECTED) return
    this.#mark(current, 0, EARLY_SUSPECTED)
  }

  /** The files that a failed try leaves behind would take the space that the next one needs. */
  async #create(name: string): Promise<KeyValue> {
    const { place } = this.#options
    await place.remove(name)
    try {
      return (await place.open(name, true))!
    } catch (error) {
      await place.remove(name)
      throw error
    }
  }

  /** Until nothing is left to replay. */
  async #replay(build: Build, from: number, isNew = false): Promise<void> {
    const { commitLog, clock } = this.#options
    const { views, dispatcher } = build
    for (let next = from, isDone = false; !isDone; next = views.mark) {
      isDone = true
      const slice = new Slice(clock)
      for (const frame of commitLog.replay(logPosition(next))) {
        dispatcher.apply(frame)
        const isFull = views.isFull(this.#flushEntries)
        if (!isFull && !slice.isOver) continue
        if (isFull) await this.#write(build, false)
        if (isFull && isNew) this.#noteHalf(build)
        await this.#rest(slice)
        isDone = false
      }
    }
    dispatcher.tellTouched(() => {})
    if (build.failure !== undefined) throw build.failure
  }

  /** Lets other work run. @throws when the store was closed during it */
  async #rest(slice: Slice): Promise<void> {
    await slice.rest()
    if (this.#isClosed) throw new Error('the store was closed')
  }

  /** From here on the marker names this build, and no older state of it will do. */
  async #settle(build: Build): Promise<void> {
    await this.#write(build, true)
    this.#mark(build, 0, this.#early)
  }

  #mark(
    { name, identity }: { readonly name: string; readonly identity: string },
    deaths: number,
    early: number,
    opening = this.#opening,
  ): void {
    const { disk, directory, log } = this.#options
    this.#early = early
    if (name === IN_MEMORY) return
    try {
      writeViewMarker(disk, directory, { name, identity, opening, deaths, early })
    } catch (error) {
      // Without it the next start builds the views again, which is slow and harmless.
      log.warn({ evt: 'views.not_marked', err: error }, 'the marker of the views was not written')
    }
  }

  // Writing

  #flushSoon(): void {
    this.#flushTimer?.cancel()
    this.#flushTimer = undefined
    if (this.#flushing !== undefined || this.isRebuilding || this.#isClosed) return
    const build = this.#current
    this.#flushing = this.#flush(build)
      .catch((error: unknown) => {
        if (!this.#isClosed && this.#build === build) this.damaged(error)
      })
      .finally(() => {
        this.#flushing = undefined
        const { isDirty, hasGarbage } = this.views
        if ((isDirty || hasGarbage) && !this.#isClosed) {
          this.#flushTimer ??= this.#options.clock.after(FLUSH_DELAY_MS, () => this.#flushSoon())
        }
      })
  }

  async #flush(build: Build): Promise<void> {
    const { views } = build
    if (views.isDirty) await this.#write(build, false)
    await views.clearGarbage()
    await views.due.loadAhead()
  }

  /** Nothing that the log could still lose gets into the store. */
  async #write({ views, failure }: Build, sync: boolean): Promise<void> {
    const { commitLog } = this.#options
    // Entries missing in it would be written as if they had never been.
    if (failure !== undefined) throw failure
    const { mark } = views
    const batch = views.save(this.#opening)
    if (commitLog.syncedEnd < mark) {
      await new Promise<void>((resolve, reject) => {
        commitLog.sync((error) => (error === undefined ? resolve() : reject(error)))
      })
    }
    await batch.write(sync)
    views.saved()
  }

  // Replacing

  async #replace(): Promise<void> {
    await this.#flushing
    const old = this.#current
    const build = await this.#buildAnew()
    await this.#replay(build, build.views.mark)
    // The frames that came in since: in this turn, so that none falls between the two.
    const { queues, light } = build.views
    const rest = this.#options.commitLog.replay(logPosition(build.views.mark))
    for (const frame of rest) build.dispatcher.apply(frame)
    build.dispatcher.tellTouched(() => {})
    for (const { topic, queueId, assigned } of old.views.queues.all()) {
      queues.queue(queues.topic(topic), queueId).assigned = assigned
    }
    light.adoptLive(old.views.light)
    this.#build = build
    await old.stored.close().catch(() => {})
    await this.#options.place.remove(old.name)
  }
}

/** LevelDB tells it in words only. */
function isNoRoom(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const isSaid = /No space left on device|Disk quota exceeded/.test(error.message)
  return isSaid || isSpaceError(error) || isNoRoom(error.cause)
}
