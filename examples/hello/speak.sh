# Sends three records, then ends.
for name in world moon sun; do
    copo udd send --key "greeting/$name" "hello, $name"
done
copo report "three greetings sent"
