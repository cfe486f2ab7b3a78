// Whether an address is reachable from other machines, and the refusal to open it without users.
import type { Config } from './config.ts'
import { BrokerError } from './errors.ts'

const LISTENERS = ['nameServer', 'remoting', 'mqtt', 'amqp'] as const

/** 127.0.0.0/8, ::1 and localhost: nothing on the network reaches them. */
export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || /^(::ffff:)?127(\.\d{1,3}){3}$/.test(host)

/** Bound to every address of the machine, so that it says nothing about how to reach it. */
export const isWildcard = (host: string): boolean => host === '0.0.0.0' || host === '::'

export function isOpenToNetwork(config: Config): boolean {
  return LISTENERS.some((name) => config[name].enabled && !isLoopback(config[name].host))
}

/** @throws BrokerError CONFIG_INVALID when anyone on the network could do everything */
export function checkExposure(config: Config): void {
  const hasUsers = Object.keys(config.users).length > 0
  if (hasUsers || config.insecureOpenToTheNetwork || !isOpenToNetwork(config)) return
  const open = LISTENERS.filter((name) => config[name].enabled && !isLoopback(config[name].host))
  const where = open.map((name) => `${name}.host = ${config[name].host}`).join(', ')
  throw new BrokerError(
    'CONFIG_INVALID',
    `${where} would open the broker to the network, and no users are configured.\n` +
      "  Add users (make a password's text with: trivet hash-password), bind 127.0.0.1,\n" +
      '  or let everyone who reaches the port do everything: --insecure-open-to-the-network',
  )
}
