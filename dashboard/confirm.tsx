// A button for what cannot be undone: it asks first, and says what is lost.
import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { part, send } from './api.js'
import { Field, Problem } from './parts.js'

interface ConfirmProps {
  /** On the button, and on the one that does it. */
  readonly label: string
  /** For a button among others of the same label. */
  readonly about?: string
  readonly title: string
  /** What is lost. */
  readonly children: ComponentChildren
  /** Has to be typed, where much is lost. */
  readonly name?: string
  readonly disabled?: boolean
  readonly act: () => Promise<unknown>
}

export function Confirm({ label, about, disabled, ...asked }: ConfirmProps) {
  const [isOpen, setOpen] = useState(false)
  return (
    <>
      <button
        type="button"
        class="danger"
        aria-label={about && `${label} ${about}`}
        disabled={disabled ?? false}
        onClick={() => setOpen(true)}
      >
        {label}
      </button>
      {isOpen && <Question label={label} {...asked} done={() => setOpen(false)} />}
    </>
  )
}

interface DeletionProps {
  readonly kind: 'group' | 'topic'
  readonly name: string
  /** What goes with the request. */
  readonly query?: string
  /** What is lost. */
  readonly children: ComponentChildren
}

/** Of all that a page is about; the list is shown after it. */
export function Deletion({ kind, name, query = '', children }: DeletionProps) {
  const label = `Delete the ${kind}`
  return (
    <>
      <h2>{label}</h2>
      <Confirm
        label={label}
        title={`${label} ${name}?`}
        name={name}
        act={async () => {
          await send('DELETE', `${kind}s/${part(name)}${query}`)
          location.hash = `#/${kind}s`
        }}
      >
        <p>These are lost:</p>
        {children}
      </Confirm>
    </>
  )
}

interface QuestionProps extends Omit<ConfirmProps, 'about' | 'disabled'> {
  readonly done: () => void
}

function Question({ label, title, children, name, act, done }: QuestionProps) {
  const dialog = useRef<HTMLDialogElement>(null)
  const [typed, setTyped] = useState('')
  const [isUnderWay, setUnderWay] = useState(false)
  const [error, setError] = useState<Error | undefined>(undefined)
  // The browser keeps the keyboard within it, closes it by Escape and goes back to the button.
  useEffect(() => dialog.current?.showModal(), [])
  const close = (): void => dialog.current?.close()
  const confirm = async (): Promise<void> => {
    setUnderWay(true)
    try {
      await act()
      close()
    } catch (thrown) {
      setError(thrown as Error)
      setUnderWay(false)
    }
  }
  return (
    <dialog ref={dialog} aria-labelledby="question" onClose={done}>
      <form
        onSubmit={(event) => {
          event.preventDefault()
          void confirm()
        }}
      >
        <h2 id="question">{title}</h2>
        {children}
        {name !== undefined && (
          <Field label={`Type ${name} to go on`} value={typed} onInput={setTyped} />
        )}
        <Problem error={error} />
        <p class="row">
          <button type="button" onClick={close}>
            Cancel
          </button>
          <button
            type="submit"
            class="danger"
            disabled={isUnderWay || (name !== undefined && typed !== name)}
          >
            {label}
          </button>
        </p>
      </form>
    </dialog>
  )
}
