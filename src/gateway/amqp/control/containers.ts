// Which containers are connected, for those that want to be so once only: the capability
// sole-connection-for-container of "AMQP Enforcing Connection Uniqueness 1.0", by which JMS keeps a
// client id to one connection.
import type { SolePolicy } from '../codec/control-frames.ts'
import { AmqpError, CONDITION } from '../errors.ts'

export interface ConnectedContainer {
  readonly containerId: string
  /** The user that the connection acts for. */
  readonly user: string
  /** undefined: any number of connections will do. */
  readonly solePolicy: SolePolicy | undefined
  /** Closes the connection with the error. */
  evict(error: AmqpError): void
}

export class Containers {
  readonly #byId = new Map<string, Set<ConnectedContainer>>()

  /**
   * A connection opens. What the one before asked for goes before what this one asks for, and no
   * user's connection is closed for another's. @throws AmqpError when it may not
   */
  enter(container: ConnectedContainer): void {
    const { containerId, user } = container
    const others = this.#byId.get(containerId) ?? new Set()
    const evicted: ConnectedContainer[] = []
    for (const other of others) {
      const policy = other.solePolicy ?? container.solePolicy
      if (policy === undefined) continue
      if (policy === 'refuse-connection' || other.user !== user) throw refused(containerId)
      evicted.push(other)
    }
    for (const other of evicted) other.evict(replaced(containerId))
    const entered = this.#byId.get(containerId) ?? new Set()
    this.#byId.set(containerId, entered.add(container))
  }

  leave(container: ConnectedContainer): void {
    const others = this.#byId.get(container.containerId)
    if (others?.delete(container) && others.size === 0) this.#byId.delete(container.containerId)
  }
}

const refused = (containerId: string): AmqpError =>
  new AmqpError(
    CONDITION.invalidField,
    `container id '${containerId}' is connected already and wants to be alone`,
    'connection',
    { 'invalid-field': 'container-id' },
  )

const replaced = (containerId: string): AmqpError =>
  new AmqpError(
    CONDITION.resourceLocked,
    `container id '${containerId}' connected again and wants to be alone`,
    'connection',
    { 'sole-connection-enforcement': true },
  )
