// Links of AMQP clients.
import { useState } from 'preact/hooks'
import type { Page } from './api.js'
import { count, Field, Problem, Table, usePages } from './parts.js'

interface Link {
  readonly name: string
  readonly containerId: string
  readonly user?: string
  readonly remote: string
  readonly role: keyof typeof ROLES
  readonly address?: string
  readonly group?: string
  readonly credit: number
  readonly unsettled: number
}

const ROLES = {
  sender: 'sends',
  receiver: 'receives',
  coordinator: 'controls transactions',
} as const

export function Amqp() {
  const [contains, setContains] = useState('')
  const [role, setRole] = useState('')
  const { value, error, pager } = usePages<{ links: readonly Link[] } & Page>('amqp/links', {
    ...{ contains, role },
  })
  return (
    <section>
      <h1>AMQP links</h1>
      <form class="row" onSubmit={(event) => event.preventDefault()}>
        <Field label="Container or link contains" value={contains} onInput={setContains} />
        <label>
          <span>The client</span>
          <select value={role} onChange={(event) => setRole(event.currentTarget.value)}>
            <option value="">does any of these</option>
            {Object.entries(ROLES).map(([name, label]) => (
              <option key={name} value={name}>
                {label}
              </option>
            ))}
          </select>
        </label>
      </form>
      <Problem error={error} />
      {value !== undefined && (
        <>
          <Table
            caption="Links by container"
            head={[
              ...['Container', 'Client', 'User', 'Link', 'The client', 'Address', 'Group'],
              ...['Credit', 'Unsettled'],
            ]}
            figures={[7, 8]}
            empty="No AMQP client has a link."
            rows={value.links.map((link) => [
              link.containerId,
              link.remote,
              link.user ?? '-',
              link.name,
              ROLES[link.role],
              link.address ?? '-',
              link.group ?? '-',
              count(link.credit),
              count(link.unsettled),
            ])}
          />
          {pager}
        </>
      )}
    </section>
  )
}
