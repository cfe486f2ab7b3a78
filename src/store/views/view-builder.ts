// Brings a build of the views up to the log's end: the one that the marker names, one that an
// earlier process began, or a new one; in memory where the disk has no room.
import { randomBytes } from 'node:crypto'
import { type Clock, Slice } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import type { Logger } from '../../log.ts'
import { type LogPosition, logPosition } from '../../model/positions.ts'
import type { Counter } from '../../numbers/numbers.ts'
import { type Disk, isSpaceError } from '../disk/disk.ts'
import type { CommitLog } from '../log/commit-log.ts'
import { carriedFilters } from './carried-filters.ts'
import { HalfBuild } from './half-build.ts'
import { liveBlocks } from './live-blocks.ts'
import type { KeyValue, KeyValuePlace } from './pairs/key-value.ts'
import { MemoryFull, MemoryKeyValue } from './pairs/memory-key-value.ts'
import { SealedKeyValue, ViewsDamaged } from './pairs/sealed.ts'
import { checkRoot } from './root-check.ts'
import { ViewBuild } from './view-build.ts'
import { type CurrentMarker, IN_MEMORY, type ViewMarker } from './view-marker.ts'
import { readRoot } from './views.ts'

/** So many unsaved entries are written at once. */
export const FLUSH_ENTRIES = 65_536
/** After so many openings in a row that did not finish, LevelDB is taken for the cause. */
const DEATHS_MAX = 2
/** After so many early ends in a row the serving views are built again: LevelDB may abort later. */
export const EARLY_SUSPECTED = 2
/** And after so many they are not opened any more, but for a build that got on in between. */
const EARLY_MAX = 4
/** Views without room on the disk stay in memory up to so much: some 10 million messages. */
const MEMORY_BYTES_MAX = 512 * 1024 * 1024

export interface ViewBuilderOptions {
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

export class ViewBuilder {
  readonly #options: ViewBuilderOptions
  readonly #marker: CurrentMarker
  readonly #damaged: (build: ViewBuild, error: unknown) => void
  readonly #liveStore = liveBlocks()
  readonly #half: HalfBuild
  readonly #flushEntries: number
  #buildCount = 0
  /** The half build that the marker of half builds names. */
  #noted: ViewBuild | undefined
  #isClosed = false

  constructor(
    options: ViewBuilderOptions,
    marker: CurrentMarker,
    damaged: (build: ViewBuild, error: unknown) => void,
  ) {
    this.#options = options
    this.#marker = marker
    this.#damaged = damaged
    this.#half = new HalfBuild(options.disk, options.directory, options.place)
    this.#flushEntries = options.flushEntries ?? FLUSH_ENTRIES
  }

  close(): void {
    this.#isClosed = true
  }

  /** The marker of a build that is not done; builds to come get other names. */
  half(current: ViewMarker | undefined): ViewMarker | undefined {
    const half = this.#half.read()
    this.#buildCount = Math.max(Number(current?.name ?? 0), Number(half?.name ?? 0))
    if (half === undefined || half.name !== current?.name) return half
    // It became the current one.
    this.#half.end()
    return undefined
  }

  /** The build that the marker names, when it is whole and of this log. */
  async reopen(marker: ViewMarker | undefined): Promise<ViewBuild | undefined> {
    if (marker === undefined) return undefined
    const { commitLog, place, log } = this.#options
    const mark = this.#marker
    if (marker.deaths >= DEATHS_MAX || marker.early >= EARLY_MAX) {
      const fields = { evt: 'views.suspected', deaths: marker.deaths, early: marker.early }
      log.warn(fields, 'the last starts ended early: the views are built again from the log')
      return undefined
    }
    mark.write(marker, mark.deaths, mark.early, marker.opening)
    const inner = await place.open(marker.name, false)
    if (inner === undefined) return undefined
    const stored = new SealedKeyValue(inner)
    try {
      const build = await this.#restore(marker, stored, commitLog.start)
      await this.replay(build, Math.min(build.views.mark, build.views.keysMark))
      await this.#settle(build)
      return build
    } catch (error) {
      log.warn({ evt: 'views.rejected', err: error }, 'the views are built again from the log')
      await stored.close()
      return undefined
    }
  }

  /** The views that the store holds, cut where the log starts. @throws ViewsDamaged */
  async #restore(marker: ViewMarker, stored: SealedKeyValue, from: number): Promise<ViewBuild> {
    const root = readRoot(stored)
    checkRoot(this.#options.commitLog, root, marker)
    const build = this.#newBuild(marker.name, marker.identity, stored)
    await build.views.restore(root)
    // The log was cut, and the process died before the views knew.
    await build.views.trimBefore(from)
    return build
  }

  #newBuild(name: string, identity: string, stored: SealedKeyValue): ViewBuild {
    const { commitLog, clock, log, cachedBlocksMax } = this.#options
    const options = { name, identity, stored, commitLog, clock, log, cachedBlocksMax }
    return new ViewBuild({ ...options, liveStore: this.#liveStore, damaged: this.#damaged })
  }

  /** @throws BrokerError with what to do about it */
  async first(): Promise<ViewBuild> {
    try {
      return await this.anew()
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
  async #buildInMemory(error: unknown): Promise<ViewBuild> {
    const text = 'there is no room for the views: they are kept in memory until there is'
    this.#options.log.error({ evt: 'views.in_memory', err: error }, text)
    try {
      return await this.#anew(true)
    } catch (thrown) {
      if (!(thrown instanceof MemoryFull)) throw thrown
      const what = `find no room, and are too large to be kept in memory until there is (${thrown.message})`
      throw this.#unwritable(what, 'or move the data directory to a larger one', thrown)
    }
  }

  /** Views of the whole log in a new store, from now on the one that the marker names. */
  anew(current?: ViewBuild): Promise<ViewBuild> {
    return this.#anew(false, current)
  }

  async #anew(isInMemory: boolean, current?: ViewBuild): Promise<ViewBuild> {
    const { commitLog, clock, log, rebuilds } = this.#options
    rebuilds.value++
    const startedMs = clock.monotonic()
    // Segments that retention has trimmed may go while this reads: they are no part of the log any
    // more.
    const from = logPosition(Math.max(commitLog.start, current?.views.trimmedTo ?? 0))
    const half = isInMemory ? undefined : await this.#resume(from, current)
    const build = half ?? (await this.#begin(from, isInMemory))
    try {
      const behind = Math.min(build.views.mark, build.views.keysMark)
      await this.replay(build, behind, () => this.#noteHalf(build, current))
      this.#marker.early = 0
      await this.#settle(build)
      this.#half.end()
    } catch (error) {
      await build.stored.close()
      // A build that only has to wait goes on at the next start; another one needs its room.
      if (!this.#isClosed) await this.#half.discard(build.name)
      // The log of a replica may say by now what the half build had to know from its beginning.
      if (half !== undefined && error === build.failure) return this.#anew(false, current)
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
  async #begin(from: LogPosition, isInMemory: boolean): Promise<ViewBuild> {
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
  async #resume(from: number, current: ViewBuild | undefined): Promise<ViewBuild | undefined> {
    const { log } = this.#options
    const half = this.#half.read()
    if (half === undefined || half.name === current?.name) return undefined
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
  #noteHalf(build: ViewBuild, current: ViewBuild | undefined): void {
    if (this.#noted === build || build.name === IN_MEMORY) return
    this.#noted = build
    this.#half.note(build)
    if (current === undefined || this.#marker.early <= EARLY_SUSPECTED) return
    this.#marker.write(current, 0, EARLY_SUSPECTED)
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

  /** Until nothing is left to replay; `saved` each time that entries were written. */
  async replay(build: ViewBuild, from: number, saved?: () => void): Promise<void> {
    const { commitLog, clock } = this.#options
    const { views, dispatcher } = build
    for (let next = from, isDone = false; !isDone; next = views.mark) {
      isDone = true
      const slice = new Slice(clock)
      for (const frame of commitLog.replay(logPosition(next))) {
        dispatcher.apply(frame)
        const isFull = views.isFull(this.#flushEntries)
        if (!isFull && !slice.isOver) continue
        if (isFull) {
          await build.save(this.#marker.opening, false)
          saved?.()
        }
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
  async #settle(build: ViewBuild): Promise<void> {
    await build.save(this.#marker.opening, true)
    this.#marker.write(build, 0, this.#marker.early)
  }
}

/** LevelDB tells it in words only. */
function isNoRoom(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  const isSaid = /No space left on device|Disk quota exceeded/.test(error.message)
  return isSaid || isSpaceError(error) || isNoRoom(error.cause)
}
