// Users that are made at run time are an admin's alone: a user that may give rights could give
// itself all of them.

import type { Accounts } from '../../access/accounts.ts'
import type { Principal } from '../../access/auth.ts'
import { BrokerError } from '../../errors.ts'
import type { GatewayContext } from '../../port/gateway.ts'

/** @throws BrokerError PERMISSION_DENIED, NOT_SUPPORTED */
export function accountsOf({
  context,
  principal,
}: {
  readonly context: Pick<GatewayContext, 'accounts'>
  readonly principal: Principal
}): Accounts {
  if (!principal.admin) {
    throw new BrokerError(
      'PERMISSION_DENIED',
      `user '${principal.name}' may not see or change users: only admins may`,
    )
  }
  if (context.accounts !== undefined) return context.accounts
  throw new BrokerError('NOT_SUPPORTED', 'the users of this broker are in its configuration alone')
}
