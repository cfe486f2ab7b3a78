// Whether a caller may change what the name server says. Routes are read by anyone, as with
// Apache's; where the configuration has users, brokers and operators sign what changes them.
import { timingSafeEqual } from 'node:crypto'
import { BrokerError } from '../errors.ts'
import type { GatewayContext } from '../port/gateway.ts'
import { REQUEST } from '../remoting/codes.ts'
import type { Command } from '../remoting/command.ts'
import { ACL_FIELD, type Credentials, sign, signedContent } from '../remoting/signature.ts'

const CHANGES: ReadonlySet<number> = new Set([
  REQUEST.registerBroker,
  REQUEST.unregisterBroker,
  REQUEST.queryDataVersion,
  REQUEST.registerTopicInNameServer,
  REQUEST.deleteTopicInNameServer,
  REQUEST.putKvConfig,
  REQUEST.deleteKvConfig,
  REQUEST.updateNameServerConfig,
  REQUEST.wipeWritePerm,
  REQUEST.addWritePerm,
])

/**
 * `trusted`: the broker of the same process, which needs no user.
 * `certifiedUser`: that the caller's certificate names, which signs nothing then.
 * @returns whether the caller was checked
 * @throws BrokerError UNAUTHENTICATED, PERMISSION_DENIED
 */
export function checkCaller(
  command: Command,
  auth: GatewayContext['auth'] | undefined,
  trusted: Credentials | undefined,
  certifiedUser: string | undefined,
): boolean {
  if (auth === undefined || auth.anonymousAllowed || !CHANGES.has(command.code)) return false
  const accessKey = command.fields.get(ACL_FIELD.accessKey) ?? ''
  const signature = command.fields.get(ACL_FIELD.signature) ?? ''
  const content = signedContent(command.fields, command.body)
  if (trusted !== undefined && accessKey === trusted.accessKey) {
    if (isSame(signature, sign(trusted.secretKey, content))) return true
    throw new BrokerError('UNAUTHENTICATED', 'unknown access key or wrong signature')
  }
  if (accessKey === '' && certifiedUser !== undefined) {
    auth.authorize(auth.certified(certifiedUser), 'manage', { kind: 'cluster' })
    return true
  }
  if (accessKey === '') {
    throw new BrokerError(
      'UNAUTHENTICATED',
      'this name server has users: sign the request with the access key and secret key of an admin',
    )
  }
  const principal = auth.verifySignature(accessKey, signature, content)
  auth.authorize(principal, 'manage', { kind: 'cluster' })
  return true
}

/** For how many ms the refusal of the command has to wait: guessing at a key is to take long. */
export function delayOfRefusal(
  command: Command,
  thrown: unknown,
  auth: GatewayContext['auth'] | undefined,
  address: string,
): number {
  const isSigned = (command.fields.get(ACL_FIELD.accessKey) ?? '') !== ''
  const isWrong = isSigned && BrokerError.from(thrown).code === 'UNAUTHENTICATED'
  return isWrong ? (auth?.wrongSignature(address) ?? 0) : 0
}

function isSame(given: string, wanted: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(wanted)]
  return a.length === b.length && timingSafeEqual(a, b)
}
