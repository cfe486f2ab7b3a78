// Users that are made at run time, and their rights, beside those of the configuration.
import { z } from 'zod'
import type { Account, GivenAccount } from '../../../access/accounts.ts'
import { type AclPolicy, policyOf } from '../../../access/acl.ts'
import { BrokerError } from '../../../errors.ts'
import { accountsOf } from '../../admin/users.ts'
import { endpoint } from './endpoint.ts'

const given = {
  password: z.string().min(1).optional(),
  admin: z.boolean().optional(),
  enabled: z.boolean().optional(),
}

export const userEndpoints = [
  endpoint({
    method: 'GET',
    path: '/users',
    summary: 'Users and their rights',
    answers: 'Those of the configuration and those that were made at run time, without secrets.',
    serve(asked) {
      const accounts = accountsOf(asked)
      const configured = accounts.configured.map(({ name, admin, policies }) => ({
        ...{ name, admin, enabled: true, isConfigured: true, policies },
      }))
      return { users: [...configured, ...accounts.list().map(shown)] }
    },
  }),
  endpoint({
    method: 'POST',
    path: '/users',
    summary: 'Make a user',
    body: z.strictObject({ ...given, name: z.string(), password: z.string().min(1) }),
    answers: 'Nothing.',
    async serve(asked) {
      await accountsOf(asked).create(asked.body.name, accountOf(asked.body))
    },
  }),
  endpoint({
    method: 'PATCH',
    path: '/users/:user',
    summary: 'Change a user; what is left out stays as it is',
    body: z.strictObject(given),
    answers: 'Nothing.',
    async serve(asked) {
      await accountsOf(asked).update(asked.params['user']!, accountOf(asked.body))
    },
  }),
  endpoint({
    method: 'DELETE',
    path: '/users/:user',
    summary: 'Delete a user with its rights',
    answers: 'Nothing.',
    async serve(asked) {
      const accounts = accountsOf(asked)
      const name = asked.params['user']!
      if (!accounts.list().some((account) => account.name === name)) {
        throw new BrokerError('ARGUMENT_INVALID', `no user '${name}' was made at run time`)
      }
      await accounts.delete(name)
    },
  }),
  endpoint({
    method: 'PUT',
    path: '/users/:user/rights',
    summary: 'Give rights: an entry takes the place of the one of its resource',
    body: z.strictObject({
      policyType: z.enum(['Custom', 'Default']).default('Custom'),
      entries: z
        .array(
          z.strictObject({
            resource: z.string().describe('`Topic:orders`, `Group:billing-*`, `Cluster:*`, `*`.'),
            actions: z
              .array(z.string())
              .describe('Pub, Sub, Create, Update, Delete, Get, List, All.'),
            decision: z.enum(['Allow', 'Deny']).default('Allow'),
          }),
        )
        .min(1),
    }),
    answers: 'Nothing.',
    async serve(asked) {
      const { policyType, entries } = asked.body
      const all = entries.map((entry) => ({ ...entry, sourceIps: [] }))
      await accountsOf(asked).putPolicies(asked.params['user']!, [policyOf(policyType, all)])
    },
  }),
  endpoint({
    method: 'DELETE',
    path: '/users/:user/rights',
    summary: 'Take rights away',
    query: z.strictObject({
      resource: z.string().default('').describe('Default: of every resource.'),
      policyType: z.string().default(''),
    }),
    answers: 'Nothing.',
    async serve(asked) {
      const { resource, policyType } = asked.query
      await accountsOf(asked).deletePolicies(asked.params['user']!, policyType, resource)
    },
  }),
]

const accountOf = ({
  password,
  admin,
  enabled,
}: {
  readonly password?: string | undefined
  readonly admin?: boolean | undefined
  readonly enabled?: boolean | undefined
}): GivenAccount => ({
  password,
  type: admin === undefined ? undefined : admin ? 'Super' : 'Normal',
  isEnabled: enabled,
})

const shown = ({ name, type, isEnabled, policies }: Account) => ({
  ...{ name, admin: type === 'Super', enabled: isEnabled, isConfigured: false },
  policies: policies as readonly AclPolicy[],
})
