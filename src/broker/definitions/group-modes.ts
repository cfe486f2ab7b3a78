// How a group shares its messages: by queue among its members, or per message by the broker. One of
// the two at a time; the first member decides, and the mode is free again when the last one has
// gone. Members that broadcast take no part.
import { BrokerError } from '../../errors.ts'
import type { ClientRegistration, GroupMode } from '../../model/client.ts'

const SHOWN_MEMBERS_MAX = 5

export class GroupModes {
  /** By group, then by connection: the members that share. */
  readonly #members = new Map<string, Map<string, { mode: GroupMode; clientId: string }>>()
  readonly #isReceiving: (group: string) => boolean

  /** `isReceiving`: does the broker serve this group per message just now, registered or not? */
  constructor(isReceiving: (group: string) => boolean) {
    this.#isReceiving = isReceiving
  }

  mode(group: string): GroupMode | undefined {
    for (const member of this.#members.get(group)?.values() ?? []) return member.mode
    return this.#isReceiving(group) ? 'per-message' : undefined
  }

  /** @throws GROUP_MODE_CONFLICT naming the others; nothing is changed then */
  check(registration: ClientRegistration): void {
    for (const { group, model, mode } of registration.consumers) {
      if (model === 'broadcasting') continue
      const others = [...(this.#members.get(group) ?? [])]
        .filter(([id, member]) => id !== registration.connectionId && member.mode !== mode)
        .map(([, member]) => member.clientId)
      if (others.length > 0) throw conflict(group, mode, others)
      const isUnregistered = this.#members.get(group) === undefined && this.#isReceiving(group)
      if (mode === 'queue-assigned' && isUnregistered) {
        throw conflict(group, mode, ['a consumer that is receiving'])
      }
    }
  }

  /** A receive needs no registration, but it must not disturb members that share by queue. */
  checkPerMessage(group: string): void {
    const members = this.#members.get(group)
    if (members === undefined) return
    const others = [...members.values()].filter(({ mode }) => mode === 'queue-assigned')
    if (others.length > 0) {
      throw conflict(
        group,
        'per-message',
        others.map(({ clientId }) => clientId),
      )
    }
  }

  join(registration: ClientRegistration): void {
    const { connectionId, clientId } = registration
    for (const { group, model, mode } of registration.consumers) {
      if (model === 'broadcasting') continue
      let members = this.#members.get(group)
      if (members === undefined) {
        members = new Map()
        this.#members.set(group, members)
      }
      members.set(connectionId, { mode, clientId })
    }
  }

  leave(connectionId: string, group: string): void {
    const members = this.#members.get(group)
    if (members?.delete(connectionId) && members.size === 0) this.#members.delete(group)
  }
}

function conflict(group: string, wanted: GroupMode, members: readonly string[]): BrokerError {
  const shown = members.slice(0, SHOWN_MEMBERS_MAX).join(', ')
  const more =
    members.length > SHOWN_MEMBERS_MAX ? ` and ${members.length - SHOWN_MEMBERS_MAX} more` : ''
  const [theirs, ours] =
    wanted === 'per-message'
      ? ['share it by queue', 'per message']
      : ['receive from it per message', 'by queue']
  return new BrokerError(
    'GROUP_MODE_CONFLICT',
    `the members ${shown}${more} of the group '${group}' ${theirs}; it cannot be shared ${ours} ` +
      'at the same time: stop them first, or use another group',
  )
}
