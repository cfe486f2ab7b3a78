// One life of a broker whose role is elected, from the opening of its store to the close of that.
// It begins as a copy that clients may read from; as the master it has other front-ends over the
// same store. It is over when the log has to be opened anew.
import { onAbort } from '../abort.ts'
import { firstListener } from '../listeners.ts'
import { Parts } from '../parts.ts'
import type { GatewayContext } from '../port/gateway.ts'
import { type CopyEnd, ElectedCopy } from '../replication/elected-copy.ts'
import { Election } from '../replication/election/election.ts'
import type { EtcdCoordinator } from '../replication/election/etcd-coordinator.ts'
import type { CopyAddresses } from '../replication/election/group-state.ts'
import type { MasterAddress } from '../replication/master-link.ts'
import { ELECTED, ELECTION, REACHED, VACANT } from '../replication/numbers.ts'
import { Replicas } from '../replication/replicas.ts'
import type { SlaveIdentity } from '../replication/slave.ts'
import type { NamedCopy } from '../store/disk/copy-name.ts'
import type { MessageStore } from '../store/store.ts'
import type { Composition, Farewell } from './composition.ts'
import { electedControl } from './elected-control.ts'
import { openElectedStore } from './elected-store.ts'
import { type ServedStore, serveBroker, serveCopy } from './serving.ts'
import { serveSlaves } from './slaves.ts'
import { openStoreOf } from './store.ts'
import { TURNS_AWAY, turnAway } from './turning-away.ts'

/** Of clients of one role before those of the next: what they wait for is not answered here. */
const REPLACED_MS = 500
/** That a lease is given back may take so long at the end. */
const REVOKED_MS = 1_000

export interface LifeContext {
  readonly composition: Composition
  readonly named: NamedCopy
  /** Its disk failed in a life before this. */
  readonly hasFailed: boolean
  readonly coordinator: EtcdCoordinator
  /** With its name, and without an election. */
  readonly identity: SlaveIdentity
  readonly addresses: CopyAddresses
  readonly dialling: (address: string) => MasterAddress
  readonly signal: AbortSignal
  /** Called once at most; the life is to be closed, and another one begun. */
  readonly over: (end: CopyEnd) => void
  /** It cannot serve. */
  readonly failed: (error: unknown) => void
}

export class Life {
  readonly #context: LifeContext
  readonly #parts: Parts
  #copy: ElectedCopy | undefined
  #election: Election | undefined
  /** What clients of the present role have. */
  #clients: Parts
  #changing: Promise<void> = Promise.resolve()
  #leaving: Farewell | undefined

  private constructor(context: LifeContext) {
    const { log } = context.composition
    this.#context = context
    this.#parts = new Parts(log)
    this.#clients = new Parts(log)
  }

  /** @throws BrokerError; then nothing of it is left */
  static async open(
    context: LifeContext,
  ): Promise<{ readonly life: Life; readonly served: GatewayContext }> {
    const life = new Life(context)
    try {
      return { life, served: await life.#open() }
    } catch (error) {
      await life.#parts.close()
      throw error
    }
  }

  async #open(): Promise<GatewayContext> {
    const { composition, named, coordinator, identity, dialling, signal } = this.#context
    const { config, clock, log, numbers } = composition
    const parts = this.#parts
    const shown = numbers.scope()
    parts.add('numbers of the store', async () => shown[Symbol.dispose]())
    parts.add('coordinator', async () => coordinator.close())
    const { etcd, slaveBehindMsMax, inSyncReplicasMin: inSyncMin } = config.replication
    // Calls that no member answers hold up no stop.
    const calledOff = onAbort(signal, () => coordinator.close())
    const store = await openElectedStore({
      ...{ named, coordinator, identity, dialling, clock, log, signal },
      directory: config.dataDir,
      founds: etcd.founds,
      open: (follows) => openStoreOf(composition, follows),
    }).finally(calledOff)
    parts.add('store', () => store.close())
    signal.throwIfAborted()
    const copy = this.#openCopy(store)
    this.#copy = copy
    parts.add('copy', () => copy.close())
    parts.add('clients of the copy', () => this.#closeClients())
    const served = await serveCopy(this.#clientsOf(), {
      ...this.#served(store),
      master: (protocol) => this.#election?.master?.addresses?.[protocol],
    })
    const { leaseMs, founds } = etcd
    const { addresses } = this.#context
    const election = new Election(
      { coordinator, copy, clock, log },
      {
        ...{ name: named.name, addresses, leaseMs, behindMs: slaveBehindMsMax, inSyncMin },
        get mayFound() {
          return founds && !named.isMember
        },
      },
    )
    this.#election = election
    numbers.gauge(ELECTION, () => election.seen?.state?.election ?? 0)
    numbers.gauge(ELECTED, () => (election.election === undefined ? 0 : 1))
    numbers.gauge(VACANT, () => (election.seen?.holder === undefined ? 1 : 0))
    numbers.gauge(REACHED, () => (election.isReached ? 1 : 0))
    parts.add('election', () => election.close())
    void election.step()
    return served
  }

  #openCopy(store: MessageStore): ElectedCopy {
    const { composition, identity, dialling, named, hasFailed } = this.#context
    const { clock, log, numbers } = composition
    return new ElectedCopy({
      ...{ store, hasFailed, identity, dialling, clock, log, numbers },
      joins: () => named.join(),
      elected: () => this.#takeSlaves(store),
      synced: () => this.#confirmOwn(store),
      ready: () => this.#serveAsMaster(store),
      over: (end) => this.#over(end),
    })
  }

  #confirmOwn({ replication }: MessageStore): void {
    const { election } = this.#election ?? {}
    if (election === undefined) return
    this.#election!.confirm(this.#context.named.name, election, replication.syncedEnd)
  }

  // As the master

  #replicas: Replicas | undefined

  #takeSlaves(store: MessageStore): void {
    const { composition } = this.#context
    const { config, clock, log, numbers, listeners } = composition
    const election = this.#election!
    const { replication } = store
    const replicas = new Replicas(
      { replication, clock, log, numbers },
      // What an acknowledgement waits for is the election's.
      {
        ...config.replication,
        ...{ isSync: true, inSyncReplicas: 1, counted: () => Math.max(1, election.inSync.length) },
      },
    )
    this.#replicas = replicas
    const slaves = serveSlaves(composition, store, replicas, election)
    this.#parts.add('replication', async () => {
      firstListener(listeners, 'replication')?.serve(TURNS_AWAY)
      await slaves?.close()
      replicas.close()
    })
  }

  #serveAsMaster(store: MessageStore): void {
    const { composition, failed } = this.#context
    const letGo = (): void => this.#copy?.letGo()
    this.#changing = this.#changing.then(async () => {
      try {
        if (this.#leaving !== undefined) return
        await this.#closeClients()
        if (this.#leaving !== undefined) return
        const served = { ...this.#served(store), letGo }
        composition.serves(await serveBroker(this.#clientsOf(), served))
      } catch (error) {
        if (this.#leaving === undefined) failed(error)
      }
    })
  }

  #served(store: MessageStore): ServedStore {
    const { named, composition } = this.#context
    const replication = electedControl({
      ...{ store, copy: this.#copy!, name: named.name },
      election: () => this.#election,
      leaseMs: composition.config.replication.etcd.leaseMs,
      clock: composition.clock,
      replicas: () => this.#replicas,
    })
    return { store, replication, isElected: true }
  }

  // Clients

  #clientsOf(): Composition {
    const { composition } = this.#context
    this.#clients = new Parts(composition.log)
    return {
      ...composition,
      parts: this.#clients,
      leaving: () => this.#leaving ?? this.#changed(),
    }
  }

  /** Others come at the same addresses. */
  #changed(): Farewell {
    const { deadlineMs } = this.#context.composition.leaving()
    return { deadlineMs: Math.min(REPLACED_MS, deadlineMs), isLast: false }
  }

  async #closeClients(): Promise<void> {
    turnAway(this.#context.composition, ['remoting', 'mqtt', 'amqp'])
    await this.#clients.close()
  }

  // The end

  #over(end: CopyEnd): void {
    this.#leaving ??= this.#changed()
    // It neither runs nor follows any more.
    void this.#election?.close()
    this.#context.over(end)
  }

  /** `leaving`: of clients, unless they are let go already. */
  async close(leaving: Farewell): Promise<void> {
    this.#leaving ??= leaving
    const { clock } = this.#context.composition
    // What waits for other copies must not hold up the end of those that wait for it.
    const late = clock.after(2 * REPLACED_MS, () => this.#copy?.letGo())
    try {
      await this.#closeClients()
      await this.#changing
      await this.#closeClients()
      // Another copy need not wait until all of this one is closed; where etcd does not answer, the
      // lease runs out by itself.
      const mute = clock.after(REVOKED_MS, () => this.#context.coordinator.close())
      await this.#election?.close()
      mute.cancel()
      await this.#parts.close()
    } finally {
      late.cancel()
    }
  }
}
