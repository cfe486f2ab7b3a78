// Whether an address is reachable from other machines, and the refusal to open it without users.
import type { Config } from './config.ts'
import { BrokerError } from './errors.ts'
import { type PlannedListener, plannedListeners } from './listening.ts'

/** 127.0.0.0/8, ::1 and localhost: nothing on the network reaches them. */
export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || /^(::ffff:)?127(\.\d{1,3}){3}$/.test(host)

/** Bound to every address of the machine, so that it says nothing about how to reach it. */
export const isWildcard = (host: string): boolean => host === '0.0.0.0' || host === '::'

export function isOpenToNetwork(config: Config): boolean {
  return openListeners(config).length > 0
}

/** In whatever role: a configuration is safe or not. */
const openListeners = (config: Config): readonly PlannedListener[] =>
  plannedListeners('start', config).filter(({ host }) => !isLoopback(host))

/** Mutual TLS: clients without a certificate of our CA do not get in. */
const needsCertificate = ({ tls }: PlannedListener, config: Config): boolean =>
  tls === 'enforcing' && config.tls.clientCertificates === 'required'

/** @throws BrokerError CONFIG_INVALID when anyone on the network could do everything */
export function checkExposure(config: Config): void {
  const hasUsers = Object.keys(config.users).length > 0
  if (hasUsers || config.insecureOpenToTheNetwork) return
  const open = openListeners(config).filter((one) => !needsCertificate(one, config))
  if (open.length === 0) return
  const where = open.map(({ hostSetting, host }) => `${hostSetting} = ${host}`).join(', ')
  throw new BrokerError(
    'CONFIG_INVALID',
    `${where} would open the broker to the network, and no users are configured.\n` +
      "  Add users (make a password's text with: trivet hash-password), bind 127.0.0.1,\n" +
      '  ask for client certificates (tls.clientCertificates = required and TLS enforcing),\n' +
      '  or let every client that reaches the port do everything: --insecure-open-to-the-network',
  )
}
