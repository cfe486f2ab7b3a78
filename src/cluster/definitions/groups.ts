// Consumer groups of the cluster: made and changed on every master.
import { GroupAdmin } from '../../client/admin/group-admin.ts'
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { type GroupDefinition, groupDefaults } from '../../model/group.ts'
import type { QueueLag } from '../../model/message.ts'
import type { MessageFilter } from '../../model/message-filter.ts'
import { checkGroupName, deadLetterTopic, retryTopic } from '../../model/names.ts'
import { queueOffset } from '../../model/positions.ts'
import type { RecentCounts } from '../../model/status.ts'
import { unreadable } from '../../model/topic.ts'
import type { Groups } from '../../port/broker.ts'
import { REQUEST } from '../../remoting/codes.ts'
import { writeFields } from '../../remoting/layout.ts'
import {
  DELETE_GROUP,
  decodeGroupTable,
  encodeGroupConfig,
} from '../../remoting/requests/groups.ts'
import type { Links } from '../links.ts'
import type { ClusterOptions } from '../options.ts'
import type { ClusterTopics } from './topics.ts'

/** As RocketMQ: from -1, without end, on. */
const RETRY_TIMES_LEAST = -1
/** What others change of a group shows so soon. */
const FRESH_MS = 5_000
/** Asked for again beyond that. */
const ENSURED_MAX = 10_000

interface Parts {
  readonly links: Links
  readonly clock: Clock
  readonly options: ClusterOptions
  readonly topics: ClusterTopics
  readonly given: (group: string, topic: string | undefined) => RecentCounts
  /** The group is deleted. */
  readonly deleted?: ((group: string) => void) | undefined
}

export class ClusterGroups implements Groups {
  readonly #parts: Parts
  readonly #admin: GroupAdmin
  /** Known to be on every master, as of when. */
  readonly #ensured = new Map<string, { definition: GroupDefinition; atMs: number }>()
  readonly #withDeadLetters = new Set<string>()

  constructor(parts: Parts) {
    this.#parts = parts
    this.#admin = new GroupAdmin(parts.links.masters)
  }

  async list(): Promise<readonly GroupDefinition[]> {
    const tables = await this.#tables()
    return [...new Map(tables.flatMap((table) => [...table])).values()]
  }

  /** Of each master that answers. */
  async #tables(): Promise<readonly ReadonlyMap<string, GroupDefinition>[]> {
    const { masters } = this.#parts.links
    const asked = { ...this.#limits, missing: ignore }
    const answers = await masters.ask(REQUEST.getAllGroupConfig, 'listing groups', asked)
    return answers.map(
      ({ response }) =>
        new Map(decodeGroupTable(response.body).map((group) => [group.name, group])),
    )
  }

  /** By the list: a broker that is asked for one group makes it. */
  async get(name: string): Promise<GroupDefinition | undefined> {
    return (await this.list()).find((group) => group.name === name)
  }

  async put(definition: GroupDefinition): Promise<void> {
    const { name, retryTimesMax } = definition
    checkGroupName(name)
    if (!Number.isInteger(retryTimesMax) || retryTimesMax < RETRY_TIMES_LEAST) {
      const text = `the group '${name}' is to have ${retryTimesMax} retries; a whole number is due`
      throw new BrokerError('ARGUMENT_INVALID', text)
    }
    const { masters } = this.#parts.links
    const asked = { ...this.#limits, body: encodeGroupConfig(definition) }
    const all = await masters.list(this.#limits)
    await masters.change(all, REQUEST.updateGroup, `setting up the group '${name}'`, asked)
    this.#ensured.delete(name)
  }

  async ensure(name: string): Promise<GroupDefinition> {
    checkGroupName(name)
    const nowMs = this.#parts.clock.monotonic()
    const known = this.#ensured.get(name)
    if (known !== undefined && nowMs - known.atMs < FRESH_MS) return known.definition
    const tables = await this.#tables()
    const found = tables.find((table) => table.has(name))?.get(name)
    if (found === undefined && !this.#parts.options.createGroups) throw notFound(name)
    const definition = found ?? groupDefaults(name)
    // A master that joined later has it not.
    if (!tables.every((table) => table.has(name))) await this.put(definition)
    if (found === undefined || known === undefined) await this.#ensureRetryTopic(definition)
    if (this.#ensured.size >= ENSURED_MAX) this.#ensured.clear()
    this.#ensured.set(name, { definition, atMs: nowMs })
    return definition
  }

  #ensureRetryTopic({ name, retryQueues }: GroupDefinition): Promise<void> {
    return this.#parts.topics.ensureEverywhere(retryTopic(name), retryQueues)
  }

  /** Made on every master, so that it is found by its name once there is a letter in it. */
  async ensureDeadLetters(name: string): Promise<void> {
    if (this.#withDeadLetters.has(name)) return
    await this.#parts.topics.ensureEverywhere(deadLetterTopic(name), 1)
    this.#withDeadLetters.add(name)
  }

  async delete(name: string, { keepOffsets = false } = {}): Promise<void> {
    if ((await this.get(name)) === undefined) throw notFound(name)
    const { masters } = this.#parts.links
    const fields = writeFields(DELETE_GROUP, { groupName: name, cleanOffset: !keepOffsets })
    const all = await masters.list(this.#limits)
    const asked = { ...this.#limits, fields }
    await masters.change(all, REQUEST.deleteGroup, `deleting the group '${name}'`, asked)
    this.#ensured.delete(name)
    this.#withDeadLetters.delete(name)
    this.#parts.deleted?.(name)
  }

  /** The masters know what their native members want, and refuse what differs. */
  async checkReceiving(
    _name: string,
    topic: string,
    _filter: MessageFilter,
    leavesRest = false,
  ): Promise<void> {
    if (leavesRest) throw leavesNothing()
    const { routes } = this.#parts.links
    // One without a route may come to have one.
    const { readable, writable } = await routes.queues(topic, this.#limits).catch(() => UNKNOWN)
    if (readable.length === 0 && writable.length > 0) throw unreadable(topic)
  }

  async lags(name: string): Promise<readonly QueueLag[]> {
    const { queues } = await this.#admin.describe(name, this.#limits)
    return queues.map(({ topic, brokerName, queueId, committedOffset, maxOffset, lag }) => ({
      ...{ topic, brokerName, queueId, committedOffset, lag },
      minOffset: queueOffset(0),
      maxOffset: queueOffset(maxOffset),
      inFlight: 0,
    }))
  }

  async given(name: string, topic?: string): Promise<RecentCounts> {
    return this.#parts.given(name, topic)
  }

  get #limits(): { timeoutMs: number } {
    return { timeoutMs: this.#parts.options.requestTimeoutMs }
  }
}

const UNKNOWN = { readable: [], writable: [] }

const ignore = (): void => {}

/** A broker that is asked to filter passes over, for the whole group, what it does not hand out. */
export const leavesNothing = (): BrokerError =>
  new BrokerError(
    'NOT_SUPPORTED',
    'before a cluster a consumer cannot leave what its selector does not want to the others of ' +
      'its group; give it a group of its own, or filter by tag',
  )

const notFound = (name: string): BrokerError =>
  new BrokerError('GROUP_NOT_FOUND', `the group '${name}' does not exist`)
