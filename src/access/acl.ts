// Rights as RocketMQ 5 writes them: for a resource, or a prefix of its name, what is allowed or
// denied. Pure: what a request asks for is decided here, where it is kept is not.
import { BrokerError } from '../errors.ts'

const POLICY_TYPES = ['Custom', 'Default'] as const
const KINDS = ['Topic', 'Group', 'Cluster'] as const
const ACTIONS = ['All', 'Pub', 'Sub', 'Create', 'Update', 'Delete', 'Get', 'List'] as const
const DECISIONS = ['Allow', 'Deny'] as const
/** Every resource of every kind. */
const ANYTHING = '*'
/** Entries of one user. */
const ENTRIES_MAX = 1_000
const RESOURCE_CHARS_MAX = 300

export type PolicyType = (typeof POLICY_TYPES)[number]
export type ResourceKind = (typeof KINDS)[number]
export type AclAction = (typeof ACTIONS)[number]

export interface AclEntry {
  /** 'Topic:orders', 'Group:billing-*', 'Topic:*', or '*' for everything. */
  readonly resource: string
  readonly actions: readonly AclAction[]
  readonly decision: (typeof DECISIONS)[number]
}

export interface AclPolicy {
  /** Entries of `Default` count only where none of `Custom` matches. */
  readonly policyType: PolicyType
  readonly entries: readonly AclEntry[]
}

/** As it comes from a client. */
export interface GivenEntry {
  readonly resource: string
  readonly actions: readonly string[]
  readonly sourceIps: readonly string[]
  readonly decision: string
}

/** @throws BrokerError ARGUMENT_INVALID */
export function policyOf(type: string, entries: readonly GivenEntry[]): AclPolicy {
  if (entries.length === 0) throw invalid('a policy without entries')
  const policyType = type === '' ? 'Custom' : named(POLICY_TYPES, type, 'policy type')
  return { policyType, entries: entries.map(entryOf) }
}

function entryOf({ resource, actions, sourceIps, decision }: GivenEntry): AclEntry {
  if (sourceIps.length > 0) {
    throw invalid('source addresses are not supported: rights hold wherever a client comes from')
  }
  if (actions.length === 0) throw invalid(`no actions for '${resource}'`)
  return {
    resource: resourceOf(resource),
    actions: [...new Set(actions.map((action) => named(ACTIONS, action, 'action')))],
    decision: named(DECISIONS, decision, 'decision'),
  }
}

/** In the form in which it is kept. @throws BrokerError ARGUMENT_INVALID */
export function resourceOf(given: string): string {
  if (given === ANYTHING) return given
  if (given.length > RESOURCE_CHARS_MAX) throw invalid('the name of a resource is too long')
  const at = given.indexOf(':')
  const name = given.slice(at + 1)
  if (at < 0 || name === '') {
    throw invalid(`the resource '${given}' is none: write Topic:name, Group:name* or Cluster:*`)
  }
  const kind = named(KINDS, given.slice(0, at), 'kind of resource')
  return `${kind}:${name.endsWith('*') ? `${name.slice(0, name.indexOf('*'))}*` : name}`
}

function named<T extends string>(names: readonly T[], given: string, what: string): T {
  const found = names.find((name) => name.toLowerCase() === given.toLowerCase())
  if (found !== undefined) return found
  throw invalid(`the ${what} '${given.slice(0, 40)}' is none of ${names.join(', ')}`)
}

/** An entry replaces the one of its resource. @throws BrokerError QUOTA_EXCEEDED */
export function mergedPolicies(
  known: readonly AclPolicy[],
  given: readonly AclPolicy[],
): readonly AclPolicy[] {
  const merged = POLICY_TYPES.flatMap((policyType): AclPolicy[] => {
    const entries = new Map<string, AclEntry>()
    for (const policy of [...known, ...given]) {
      if (policy.policyType !== policyType) continue
      for (const entry of policy.entries) entries.set(entry.resource, entry)
    }
    return entries.size === 0 ? [] : [{ policyType, entries: [...entries.values()] }]
  })
  const count = merged.reduce((sum, { entries }) => sum + entries.length, 0)
  if (count <= ENTRIES_MAX) return merged
  throw new BrokerError('QUOTA_EXCEEDED', `a user has ${ENTRIES_MAX} entries at most`)
}

export const withoutEntry = (
  known: readonly AclPolicy[],
  policyType: string,
  resource: string,
): readonly AclPolicy[] =>
  known.flatMap((policy) => {
    if (policy.policyType !== named(POLICY_TYPES, policyType || 'Custom', 'policy type')) {
      return [policy]
    }
    const entries = policy.entries.filter((entry) => entry.resource !== resource)
    return entries.length === 0 ? [] : [{ ...policy, entries }]
  })

/** One of the actions is enough. The entry that names the resource most closely decides. */
export function isAllowedBy(
  policies: readonly AclPolicy[],
  actions: readonly AclAction[],
  kind: ResourceKind,
  name: string,
): boolean {
  for (const type of POLICY_TYPES) {
    let decided: AclEntry | undefined
    for (const { policyType, entries } of policies) {
      if (policyType !== type) continue
      for (const entry of entries) {
        if (!isFor(entry, actions) || closeness(entry, kind, name) < 0) continue
        if (decided === undefined || isBefore(entry, decided, kind, name)) decided = entry
      }
    }
    if (decided !== undefined) return decided.decision === 'Allow'
  }
  return false
}

const isFor = (entry: AclEntry, actions: readonly AclAction[]): boolean =>
  entry.actions.some((action) => action === 'All' || actions.includes(action))

function isBefore(one: AclEntry, other: AclEntry, kind: ResourceKind, name: string): boolean {
  const closer = closeness(one, kind, name) - closeness(other, kind, name)
  return closer > 0 || (closer === 0 && one.decision === 'Deny')
}

/** The whole name before the longest prefix, before all of a kind, before everything; -1: no. */
function closeness({ resource }: AclEntry, kind: ResourceKind, name: string): number {
  if (resource === ANYTHING) return 0
  if (!resource.startsWith(`${kind}:`)) return -1
  const pattern = resource.slice(kind.length + 1)
  if (!pattern.endsWith('*')) return pattern === name ? Number.MAX_SAFE_INTEGER : -1
  return name.startsWith(pattern.slice(0, -1)) ? pattern.length : -1
}

const invalid = (text: string): BrokerError => new BrokerError('ARGUMENT_INVALID', text)
