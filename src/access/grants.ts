// What a user may do: the grants of the configuration, or RocketMQ's policies of a user that was
// made at run time, asked in the same words.
import { DLQ_PREFIX, isSystemTopic, RETRY_PREFIX } from '../model/names.ts'
import {
  type AclAction,
  type AclEntry,
  type AclPolicy,
  isAllowedBy,
  type ResourceKind,
} from './acl.ts'
import type { Action, Resource } from './auth.ts'

export interface Rights {
  allows(action: Action, kind: ResourceKind, name: string): boolean
}

/** A grant is a name, or a prefix that ends in `*`. */
export interface Granted {
  readonly publish: readonly string[]
  readonly consume: readonly string[]
  readonly create: readonly string[]
}

/** By the rules of `Authenticator.authorize`. */
export function isGranted(rights: Rights, action: Action, resource: Resource): boolean {
  if (resource.kind === 'cluster') return rights.allows(action, 'Cluster', '')
  const { kind, name } = resource
  if (kind === 'group') return rights.allows(action, 'Group', name)
  for (const prefix of [RETRY_PREFIX, DLQ_PREFIX]) {
    if (name.startsWith(prefix)) {
      const asked = action === 'publish' || action === 'create' ? 'consume' : action
      return rights.allows(asked, 'Group', name.slice(prefix.length))
    }
  }
  return !isSystemTopic(name) && rights.allows(action, 'Topic', name)
}

/** The policies of a user that was made at run time. */
export const rightsOf = (policies: readonly AclPolicy[]): Rights => ({
  allows: (action, kind, of) => isAllowedBy(policies, aclActionsOf(action, kind), kind, of),
})

/** What RocketMQ calls the action; one of several is enough. */
function aclActionsOf(action: Action, kind: ResourceKind): readonly AclAction[] {
  // A group is made by its first consumer.
  if (action === 'create' && kind === 'Group') return ['Create', 'Sub']
  return ACL_ACTIONS[action]
}

const ACL_ACTIONS: Readonly<Record<Action, readonly AclAction[]>> = {
  publish: ['Pub'],
  consume: ['Sub'],
  read: ['Sub', 'Get'],
  create: ['Create'],
  manage: ['Update'],
  delete: ['Delete'],
}

/** The grants of the configuration. */
export class GrantedRights implements Rights {
  readonly #publish: Grants
  readonly #consume: Grants
  readonly #create: Grants

  constructor({ publish, consume, create }: Granted) {
    this.#publish = new Grants(publish)
    this.#consume = new Grants(consume)
    this.#create = new Grants(create)
  }

  allows(action: Action, kind: ResourceKind, name: string): boolean {
    if (action === 'manage' || action === 'delete' || kind === 'Cluster') return false
    if (kind === 'Group') return action !== 'publish' && this.#consume.covers(name)
    if (action === 'publish') return this.#publish.covers(name)
    if (action === 'create') return this.#create.covers(name)
    return this.#consume.covers(name)
  }
}

/** The grants as RocketMQ's tools show them. */
export function policiesOf({ publish, consume, create }: Granted): readonly AclPolicy[] {
  const actions = new Map<string, Set<AclAction>>()
  const add = (kind: ResourceKind, names: readonly string[], ...granted: AclAction[]): void => {
    for (const name of names) {
      const resource = `${kind}:${name}`
      actions.set(resource, new Set([...(actions.get(resource) ?? []), ...granted]))
    }
  }
  add('Topic', publish, 'Pub')
  add('Topic', consume, 'Sub', 'Get')
  add('Topic', create, 'Create')
  add('Group', consume, 'Sub', 'Get')
  if (actions.size === 0) return []
  const entries = [...actions].map(
    ([resource, granted]): AclEntry => ({ resource, actions: [...granted], decision: 'Allow' }),
  )
  return [{ policyType: 'Custom', entries }]
}

/** Names and prefixes, matched literally: nothing from the wire becomes a pattern. */
class Grants {
  readonly #names: ReadonlySet<string>
  readonly #prefixes: readonly string[]

  constructor(patterns: readonly string[]) {
    this.#names = new Set(patterns.filter((pattern) => !pattern.endsWith('*')))
    this.#prefixes = patterns
      .filter((pattern) => pattern.endsWith('*'))
      .map((pattern) => pattern.slice(0, -1))
  }

  covers(name: string): boolean {
    return this.#names.has(name) || this.#prefixes.some((prefix) => name.startsWith(prefix))
  }
}
