import { addBindingService } from '../host/binding-service.ts'
import { runComponent } from '../host/run.ts'
import { mongodbBinding } from './component.ts'
import { operations } from './query.ts'

await runComponent({
  type: 'mongodb',
  define: () => mongodbBinding,
  addServices: addBindingService(operations),
})
