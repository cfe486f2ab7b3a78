// Consumer groups: definitions in memory, each a durable fact. A group brings its retry topic
// along; its members are in the client registry.
import { BrokerError, isUnconfirmed } from '../../errors.ts'
import { type GroupDefinition, groupDefaults } from '../../model/group.ts'
import { QUEUES_PER_TOPIC_MAX } from '../../model/limits.ts'
import { checkGroupName, deadLetterTopic, retryTopic } from '../../model/names.ts'
import type { Fact, MessageStore } from '../../store/store.ts'
import { FACT, type FactWriter } from '../facts/fact-writer.ts'
import { Unsaved } from '../facts/unsaved.ts'
import type { BrokerOptions } from '../options.ts'
import type { Topic, TopicTable } from './topics.ts'

export interface Group {
  definition: GroupDefinition
  isSaved: boolean
}

const RETRY_TIMES_MAX = 1000

export class GroupTable {
  readonly #facts: FactWriter
  readonly #topics: TopicTable
  readonly #options: BrokerOptions
  readonly #groups = new Map<string, Group>()
  readonly unsaved = new Unsaved<Group>((group) => this.#save(group))

  constructor(store: MessageStore, facts: FactWriter, topics: TopicTable, options: BrokerOptions) {
    this.#facts = facts
    this.#topics = topics
    this.#options = options
    for (const [name, value] of store.facts(FACT.group)) this.follow(name, value)
  }

  /** What the log says of it, which another broker may have written. */
  follow(name: string, value: Buffer | undefined): void {
    if (value === undefined) {
      this.forget(name)
      return
    }
    const definition = { ...groupDefaults(name), ...JSON.parse(value.toString()), name }
    this.#groups.set(name, { definition, isSaved: true })
  }

  find(name: string): GroupDefinition | undefined {
    return this.#groups.get(name)?.definition
  }

  /** Is it durable? One that could not be written when it was first used is not. */
  isSaved(name: string): boolean {
    return this.#groups.get(name)?.isSaved === true
  }

  /** @throws GROUP_NOT_FOUND */
  need(name: string): GroupDefinition {
    const group = this.#groups.get(name)
    if (group === undefined) throw groupNotFound(name, this.#options.autoCreateGroups)
    return group.definition
  }

  list(): GroupDefinition[] {
    return [...this.#groups.values()].map((group) => group.definition)
  }

  get size(): number {
    return this.#groups.size
  }

  async put(definition: GroupDefinition): Promise<void> {
    const { name, consumeEnabled, broadcastEnabled, retryQueues, retryTimesMax } = definition
    const { quiet, kept, attributes } = definition
    const wanted: GroupDefinition = {
      ...{ name, consumeEnabled, broadcastEnabled, retryQueues, retryTimesMax },
      ...(quiet !== undefined && { quiet }),
      ...(kept !== undefined && { kept }),
      ...(attributes !== undefined && { attributes }),
    }
    this.#check(wanted)
    const known = this.#groups.get(name)
    const before = known?.definition
    const group = known ?? { definition: wanted, isSaved: false }
    group.definition = wanted
    this.#groups.set(name, group)
    try {
      await this.#save(group)
    } catch (error) {
      if (isUnconfirmed(BrokerError.from(error))) throw error
      if (before !== undefined) group.definition = before
      else if (this.#groups.get(name) === group) this.#groups.delete(name)
      throw error
    }
  }

  /**
   * The group and its retry topic, durable but while the store is read-only; created when missing
   * and allowed. @throws GROUP_NOT_FOUND
   */
  async ensure(name: string): Promise<GroupDefinition> {
    const { firstUses } = this.#facts
    if (!this.isSaved(name) && firstUses.isOver) await firstUses.rest()
    let group = this.#groups.get(name)
    if (group === undefined) {
      checkGroupName(name)
      if (!this.#options.autoCreateGroups) throw groupNotFound(name, false)
      const definition = groupDefaults(name)
      this.#check(definition)
      group = { definition, isSaved: false }
      this.#groups.set(name, group)
    }
    if (!group.isSaved) await this.#ensureSaved(group)
    return group.definition
  }

  /**
   * Where the group's failed messages come back. Staged when it is missing, as after a change by
   * hand.
   */
  retryTopic(name: string): Topic {
    const topic = retryTopic(name)
    return this.#topics.find(topic) ?? this.#topics.stage(topic, this.need(name).retryQueues)
  }

  deadLetterTopic(name: string): Topic {
    const topic = deadLetterTopic(name)
    return this.#topics.find(topic) ?? this.#topics.stage(topic, 1)
  }

  /** Out of the table; the fact of it is the caller's. */
  forget(name: string): void {
    const group = this.#groups.get(name)
    if (group === undefined) return
    this.#groups.delete(name)
    this.unsaved.forget(group)
  }

  async #ensureSaved(group: Group): Promise<void> {
    try {
      await this.unsaved.saveOrKeep(group)
    } catch (error) {
      const { name } = group.definition
      const isRefused = BrokerError.from(error).code === 'READ_ONLY'
      if (isRefused && !group.isSaved && this.#groups.get(name) === group) this.#unmake(name)
      throw error
    }
  }

  /** Made by its first use, and not kept: names from the wire must not fill the memory. */
  #unmake(name: string): void {
    this.#groups.delete(name)
    const retry = retryTopic(name)
    if (this.#topics.find(retry)?.isSaved === false) this.#topics.forget(retry)
  }

  async #save(group: Group): Promise<void> {
    const { name, ...rest } = group.definition
    const retry = this.retryTopic(name)
    if (retry.definition.readQueues < rest.retryQueues) {
      await this.#topics.put({
        ...retry.definition,
        readQueues: rest.retryQueues,
        writeQueues: rest.retryQueues,
      })
      // A group that was deleted during the append must not come back.
      if (this.#groups.get(name) !== group) throw groupNotFound(name, true)
    }
    const facts = [
      ...this.#topics.unsaved([retry]),
      { kind: FACT.group, key: name, value: Buffer.from(JSON.stringify(rest)) },
    ]
    const saved = (): void => {
      retry.isSaved = true
      group.isSaved = true
    }
    await this.#facts.write(facts).catch((error: unknown) => {
      if (isUnconfirmed(BrokerError.from(error))) saved()
      throw error
    })
    saved()
  }

  #check(definition: GroupDefinition): void {
    const { name, retryQueues, retryTimesMax } = definition
    checkGroupName(name)
    const isCount = (value: number, least: number, most: number): boolean =>
      Number.isInteger(value) && value >= least && value <= most
    if (!isCount(retryQueues, 1, QUEUES_PER_TOPIC_MAX)) {
      throw new BrokerError(
        'ARGUMENT_INVALID',
        `the group '${name}' cannot have ${retryQueues} retry queues; 1 to ${QUEUES_PER_TOPIC_MAX} are possible`,
      )
    }
    if (!isCount(retryTimesMax, 0, RETRY_TIMES_MAX)) {
      throw new BrokerError(
        'ARGUMENT_INVALID',
        `the group '${name}' cannot retry ${retryTimesMax} times; 0 to ${RETRY_TIMES_MAX} are possible`,
      )
    }
    if (!this.#groups.has(name) && this.#groups.size >= this.#options.groupsMax) {
      throw new BrokerError(
        'QUOTA_EXCEEDED',
        `the group '${name}' would be number ${this.#groups.size + 1}; broker.groupsMax is ${this.#options.groupsMax}`,
      )
    }
  }
}

export const groupGone = (name: string): Fact => ({ kind: FACT.group, key: name, value: null })

/** `isCreated`: the first consumer creates a group, but what was asked for here does not. */
const groupNotFound = (name: string, isCreated: boolean): BrokerError =>
  new BrokerError(
    'GROUP_NOT_FOUND',
    `the consumer group '${name.slice(0, 300)}' does not exist` +
      (isCreated ? '' : '; create it first, or set broker.autoCreateGroups'),
  )
