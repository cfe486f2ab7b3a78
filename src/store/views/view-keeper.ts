// Keeps the views: opens those that are there or builds them from the log, writes them in the
// background, and replaces them by a new build when anything in them turns out to be wrong or
// cannot be written.
import { nextTurn, type Timer } from '../../clock.ts'
import { Tries } from '../disk/tries.ts'
import type { Frame } from '../log/commit-log.ts'
import type { ConsumeQueue } from './consume-queue.ts'
import type { ViewBuild } from './view-build.ts'
import {
  EARLY_SUSPECTED,
  FLUSH_ENTRIES,
  ViewBuilder,
  type ViewBuilderOptions,
} from './view-builder.ts'
import { CurrentMarker, IN_MEMORY, type ViewMarker } from './view-marker.ts'
import type { Views } from './views.ts'

/** Changes reach the views this much later at most. */
const FLUSH_DELAY_MS = 1000
/** How often parked messages of the near future are looked for when nothing else happens. */
const LOAD_AHEAD_PERIOD_MS = 20_000
/** Alive for so long, an opening counts as a success. */
const PROBATION_MS = 60_000

export class ViewKeeper {
  readonly #options: ViewBuilderOptions
  readonly #marker: CurrentMarker
  readonly #builder: ViewBuilder
  readonly #flushEntries: number
  #build: ViewBuild | undefined
  #probation: Timer | undefined
  #flushTimer: Timer | undefined
  #aheadTimer: Timer | undefined
  #flushing: Promise<void> | undefined
  readonly #rebuild: Tries
  #isClosed = false

  constructor(options: ViewBuilderOptions) {
    this.#options = options
    this.#flushEntries = options.flushEntries ?? FLUSH_ENTRIES
    this.#marker = new CurrentMarker(options.disk, options.directory, options.log)
    this.#builder = new ViewBuilder(options, this.#marker, (build, error) => {
      if (this.#build === build) this.damaged(error)
    })
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

  get #current(): ViewBuild {
    if (this.#build === undefined) throw new Error('the views are used before they are open')
    return this.#build
  }

  /** Brings the views up to the log's end. Afterwards every frame must come through `apply`. */
  async open(): Promise<void> {
    const { disk, directory, place, clock } = this.#options
    disk.makeDirectory(directory)
    const marker = this.#marker.read()
    const half = this.#builder.half(marker)
    const reopened = await this.#builder.reopen(marker)
    const build = reopened ?? (await this.#builder.first())
    this.#build = build
    this.#probation = clock.after(PROBATION_MS, () => this.#marker.write(this.#current, 0, 0))
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
    this.#builder.close()
    this.#flushTimer?.cancel()
    this.#aheadTimer?.cancel()
    this.#probation?.cancel()
    await Promise.all([this.#rebuild.close(), this.#flushing])
    if (this.#build === undefined) return
    try {
      if (this.#build.views.isDirty) await this.#build.save(this.#marker.opening, true)
    } catch (error) {
      const fields = { evt: 'views.not_saved', err: error }
      this.#options.log.warn(
        fields,
        'the views were not saved: the next start replays more of the log',
      )
    }
    await this.#build.stored.close()
    this.#marker.write(this.#build, 0, 0)
  }

  /** Due entries are loaded ahead of their time; after a jump of the clock they may be late. */
  loadDue(): void {
    if (this.views.due.wantsLoad) this.#flushSoon()
  }

  /** Goes on with an earlier process's build, or begins one when too many ended early. */
  #buildOn(half: ViewMarker | undefined): void {
    const { log } = this.#options
    if (half === undefined && this.#marker.early <= EARLY_SUSPECTED) return
    const fields = { evt: 'views.suspected', early: this.#marker.early - 1 }
    log.warn(fields, 'the views are built again from the log, and serve until that is done')
    this.#rebuild.begin()
  }

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

  async #flush(build: ViewBuild): Promise<void> {
    const { views } = build
    // What made it due has taken its part of this one.
    await nextTurn()
    if (views.isDirty) await build.save(this.#marker.opening, false)
    await views.clearGarbage()
    await views.due.loadAhead()
  }

  async #replace(): Promise<void> {
    await this.#flushing
    const old = this.#current
    const build = await this.#builder.anew(old)
    await this.#builder.replay(build, build.views.mark)
    build.catchUp()
    const { queues, light } = build.views
    for (const { topic, queueId, assigned } of old.views.queues.all()) {
      queues.queue(queues.topic(topic), queueId).assigned = assigned
    }
    light.adoptLive(old.views.light)
    this.#build = build
    await old.stored.close().catch(() => {})
    await this.#options.place.remove(old.name)
  }
}
